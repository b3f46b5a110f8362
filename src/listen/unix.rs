//! Unix sockets.

use std::{
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tokio::net::{UnixListener, UnixStream};

/// For the owner and the group.
const MODE: u32 = 0o660;

/// The name of a socket of ours. Dropped, it goes: left behind, the next start would find and replace it.
pub struct SocketName {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl Drop for SocketName {
    fn drop(&mut self) {
        // Another daemon may have the name by now.
        if self.identity.is_some() && identity(&self.path) == self.identity {
            // What cannot be removed is replaced later.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Listens on a socket. One that nobody listens on is left over from a crash, and replaced. The new one has its
/// permissions (0660) before it has its name.
///
/// # Errors
/// The system's; `AlreadyExists` when the path is no socket, `AddrInUse` when somebody listens there.
pub async fn bind_unix(path: &Path) -> io::Result<(UnixListener, SocketName)> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            let text = format!("{} is there and is no socket", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        Ok(_) if UnixStream::connect(path).await.is_ok() => {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        Ok(_) | Err(_) => {}
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let new = Path::new(&name);
    // From an earlier process of the same number.
    let _ = std::fs::remove_file(new);
    let listener = UnixListener::bind(new)?;
    std::fs::set_permissions(new, PermissionsExt::from_mode(MODE))?;
    std::fs::rename(new, path)?;
    Ok((listener, SocketName { path: path.into(), identity: identity(path) }))
}

/// What tells a file from another that has its name later.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = std::fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_replaced_only_when_nobody_listens_and_removed_only_by_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.sock");
        let (listener, name) = bind_unix(&path).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, MODE);
        let refused = bind_unix(&path).await.map(|_| ()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        // A crash: the listener is gone, its name is not.
        drop(listener);
        let (_listener, second) = bind_unix(&path).await.unwrap();
        drop(name);
        assert!(path.exists(), "it is another's by now");
        drop(second);
        assert!(!path.exists());
        std::fs::write(&path, "data").unwrap();
        let refused = bind_unix(&path).await.map(|_| ()).unwrap_err();
        assert!(refused.to_string().contains("no socket"), "{refused}");
        assert_eq!(std::fs::read(&path).unwrap(), b"data");
    }
}
