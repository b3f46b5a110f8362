//! What lies on this machine beside the configurations: password files and sockets.

use std::{
    io::Read,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::{
    Line,
    conf::{Conf, Management},
    lint::{Ours, Severity},
};
use crate::{
    config::{Config, ConsoleListen, Endpoint, Server},
    types::Password,
};

/// Bits of a mode: everybody may write; everybody may enter.
const OTHERS_WRITE: u32 = 0o002;
const OTHERS_ENTER: u32 = 0o001;
const OTHERS_READ: u32 = 0o004;
/// By RuntimeDirectory=, whenever it starts.
const UNIT_MAKES: &str = "/run/ovpn-warden";
/// Longest line of a password file that is compared, in bytes.
const LONGEST: u64 = 4097;

/// Holds the file that a `management` line names against the password of our server.
pub fn password_file(path: &Path, conf: &Conf, ours: &Ours<'_>) -> Vec<Line> {
    let Some(management) = conf.management() else { return Vec::new() };
    let Some(named) = &management.password_file else { return Vec::new() };
    let file = beside(path, conf, named);
    let line = |severity: Severity, text: String, mend: String| {
        let mut line = Line::new(severity.as_str(), path.display().to_string(), text, Some(mend));
        (line.line, line.directive) = (Some(management.line), Some("management"));
        line
    };
    let shown = file.display();
    let (theirs, is_open) = match read(&file) {
        Ok(read) => read,
        Err(error) => {
            return vec![line(
                Severity::Note,
                format!("its password file {shown} cannot be read here: {error}"),
                "run this as root to have the passwords compared".into(),
            )];
        }
    };
    let mut lines = Vec::new();
    if is_open {
        lines.push(line(
            Severity::Warning,
            format!("every user of this machine can read the password in {shown}"),
            format!("chmod 0600 {shown}"),
        ));
    }
    lines.extend(other_password(&theirs, &management, conf, ours).map(|server| {
        line(
            Severity::Fault,
            format!("the password in {shown} is another than that of server `{}`", server.name),
            "put the same line into both files".into(),
        )
    }));
    lines
}

fn other_password<'a>(
    theirs: &Password,
    management: &Management,
    conf: &Conf,
    ours: &'a Ours<'_>,
) -> Option<&'a Server> {
    let server = ours.server(management, conf.has("management-client"))?;
    (server.password.as_ref()? != theirs).then_some(server)
}

/// A path as OpenVPN reads it: from `cd`, or else from where the configuration is.
fn beside(path: &Path, conf: &Conf, named: &Path) -> PathBuf {
    let folder = conf.last("cd").and_then(|found| found.words.get(1)).map(PathBuf::from);
    let folder = folder.or_else(|| path.parent().map(Path::to_owned)).unwrap_or_default();
    folder.join(named)
}

/// The first line of a file, and whether everybody may read it.
fn read(file: &Path) -> Result<(Password, bool), std::io::Error> {
    let metadata = std::fs::metadata(file)?;
    if !metadata.is_file() {
        return Err(std::io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::with_capacity(LONGEST as usize);
    std::fs::File::open(file)?.take(LONGEST).read_to_end(&mut bytes)?;
    let all = Password::new(bytes);
    let first = all.expose().split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    let is_open = metadata.permissions().mode() & OTHERS_READ != 0;
    Ok((Password::new(first.to_vec()), is_open))
}

/// Who may open the sockets that we attach to. OpenVPN makes them for everybody (mode 0777 less
/// its umask): their folder decides. And whether ours can be made.
pub fn sockets(config: &Config) -> Vec<Line> {
    let console = config.console.as_ref().and_then(|console| match &console.listen {
        ConsoleListen::Unix(path) => {
            Some((Severity::Fault, "console".to_owned(), path, "the daemon does not start"))
        }
        ConsoleListen::Tcp(_) => None,
    });
    let relays = config.servers.iter().filter_map(|server| match &server.relay {
        Some(Endpoint::Unix(path)) => Some((
            Severity::Warning,
            format!("relay of {}", server.name),
            path,
            "nobody can use it",
        )),
        Some(Endpoint::Tcp { .. } | Endpoint::Listen(_)) | None => None,
    });
    let homeless = console.into_iter().chain(relays).filter_map(|(severity, whose, path, effect)| {
        let folder = path.parent().filter(|folder| *folder != Path::new(UNIT_MAKES))?;
        matches!(folder.try_exists(), Ok(false)).then(|| {
            Line::new(
                severity.as_str(),
                format!("{whose} ({})", path.display()),
                format!("the directory {} is not there: {effect}", folder.display()),
                Some(format!(
                    "use {UNIT_MAKES}, which the unit makes, or make it when the system starts, as docs/console.md has it"
                )),
            )
        })
    });
    config.servers.iter().filter_map(socket).chain(homeless).collect()
}

fn socket(server: &Server) -> Option<Line> {
    let Endpoint::Unix(path) = &server.management else { return None };
    let subject = format!("{} ({})", server.name, server.management);
    let folder = path.parent()?;
    if matches!(folder.try_exists(), Ok(false)) {
        return Some(Line::new(
            Severity::Warning.as_str(),
            subject,
            format!(
                "the directory {} is not there: OpenVPN cannot make the socket",
                folder.display()
            ),
            Some(
                "make it when the system starts, as by RuntimeDirectory= of OpenVPN's unit".into(),
            ),
        ));
    }
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return Some(Line::new(
                Severity::Note.as_str(),
                subject,
                "this user may not look into the socket's directory",
                Some("run this as the user that ovpn-warden runs as, or as root".into()),
            ));
        }
        // Whether OpenVPN runs is looked at with --connect.
        Err(_) => return None,
    };
    if !metadata.file_type().is_socket() {
        return Some(Line::fault(
            subject,
            "what is there is no socket",
            Some("remove it, and see the path in OpenVPN's `management` line".into()),
        ));
    }
    let is_open = metadata.permissions().mode() & OTHERS_WRITE != 0
        && folder.ancestors().all(|folder| {
            std::fs::metadata(folder).is_ok_and(|m| m.permissions().mode() & OTHERS_ENTER != 0)
        });
    if !is_open {
        return None;
    }
    let mend = format!(
        "keep others out of its directory: chgrp ovpn-warden {folder}; chmod 0750 {folder}",
        folder = folder.display()
    );
    Some(match server.password {
        None => Line::fault(
            subject,
            "every local user can let anybody in over this socket: it has no password",
            Some(mend),
        ),
        Some(_) => Line::new(
            Severity::Warning.as_str(),
            subject,
            "every local user can open this socket and guess its password, or keep us out",
            Some(mend),
        ),
    })
}
