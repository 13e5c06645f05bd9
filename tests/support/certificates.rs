//! Certificates for tests of TLS, made by the program `openssl`.

#![allow(
    dead_code,
    reason = "each binary that includes this uses its own part of it"
)]

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::servers::ServerCertificate;

/// Two authorities, and a server's certificate of the first one for `localhost`.
pub struct Certificates {
    folder: TempDir,
    pub server: ServerCertificate,
}

impl Certificates {
    pub fn make() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        for authority in ["right", "wrong"] {
            let new = format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={authority} \
                 -keyout {authority}.key -out {authority}.pem"
            );
            openssl(path, &new);
        }
        openssl(
            path,
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=server -keyout server.key -out server.csr",
        );
        std::fs::write(path.join("names"), "subjectAltName=DNS:localhost\n").expect("a file");
        openssl(
            path,
            "x509 -req -in server.csr -CA right.pem -CAkey right.key -CAcreateserial -days 2 -extfile names \
             -out server.pem",
        );
        let read = |name: &str| std::fs::read_to_string(path.join(name)).expect("a file");
        let server = ServerCertificate {
            ca: read("right.pem"),
            certificate: read("server.pem"),
            key: read("server.key"),
        };
        Self { folder, server }
    }

    pub fn file(&self, authority: &str) -> String {
        let file = self.folder.path().join(format!("{authority}.pem"));
        file.display().to_string()
    }

    pub fn pem(&self, authority: &str) -> String {
        std::fs::read_to_string(self.file(authority)).expect("a file")
    }
}

fn openssl(folder: &Path, arguments: &str) {
    let ran = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .output()
        .expect("openssl is missing: apt-get install --no-install-recommends openssl");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "openssl {arguments}\n{said}");
}
