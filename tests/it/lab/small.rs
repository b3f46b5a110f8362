//! A disk that can be full.

use std::path::{Path, PathBuf};

/// A small file system of its own, gone with this.
pub struct Small(PathBuf);

impl Small {
    pub fn mount(at: &Path, size: &str) -> Self {
        std::fs::create_dir(at).unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size},mode=700"), "tmpfs"]).arg(at);
        let mounted = mount.status().unwrap();
        assert!(mounted.success(), "mounting a tmpfs needs root: run `make test`, which has it");
        Self(at.to_owned())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Leaves no byte.
    pub fn fill(&self) {
        use std::io::Write as _;

        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[0; 4_096]).is_ok() {}
        while file.write_all(&[0]).is_ok() {}
    }

    pub fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
