//! A static file server on loopback: all that a repository needs. What it serves can be swapped
//! for something else while it runs, which is how the demo's attacker takes it over.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a client may take over a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest request head that is read.
const MAX_HEAD: u64 = 16 << 10;

/// A running server. It ends with the process.
#[derive(Debug)]
pub(super) struct FileServer {
    address: SocketAddr,
    root: Arc<Mutex<PathBuf>>,
}

impl FileServer {
    /// Serves `root` on a free port of the loopback interface.
    pub(super) fn start(root: &Path) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let server =
            Self { address: listener.local_addr()?, root: Arc::new(Mutex::new(root.to_owned())) };
        let root = Arc::clone(&server.root);
        thread::Builder::new().name("file-server".to_owned()).spawn(move || {
            for stream in listener.incoming().flatten() {
                let root = root.lock().unwrap_or_else(PoisonError::into_inner).clone();
                // A connection that breaks concerns nobody but its client.
                thread::spawn(move || drop(converse(&stream, &root)));
            }
        })?;
        Ok(server)
    }

    /// The base address.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves another directory from now on.
    pub(super) fn serve_instead(&self, root: &Path) {
        root.clone_into(&mut self.root.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Answers one request and closes.
fn converse(mut stream: &TcpStream, root: &Path) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream.take(MAX_HEAD)).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let mut from = None;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        from = from.or_else(|| range_start(&line));
    }
    let words: Vec<&str> = request.split(' ').collect();
    let found = match words[..] {
        ["GET", path, _] => inside(root, path).and_then(|path| File::open(path).ok()),
        _ => None,
    };
    let Some(mut file) = found.filter(|file| file.metadata().is_ok_and(|meta| meta.is_file()))
    else {
        return stream.write_all(
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        );
    };
    let len = file.metadata()?.len();
    let head = match from {
        Some(from) if from >= len => {
            format!(
                "416 Range Not Satisfiable\r\ncontent-range: bytes */{len}\r\ncontent-length: 0"
            )
        }
        Some(from) => format!(
            "206 Partial Content\r\ncontent-range: bytes {from}-{}/{len}\r\ncontent-length: {}",
            len - 1,
            len - from
        ),
        None => format!("200 OK\r\ncontent-length: {len}"),
    };
    write!(stream, "HTTP/1.1 {head}\r\naccept-ranges: bytes\r\nconnection: close\r\n\r\n")?;
    let from = from.unwrap_or(0);
    if from < len {
        file.seek(SeekFrom::Start(from))?;
        io::copy(&mut file, &mut stream)?;
    }
    Ok(())
}

/// The start of an open-ended range such as `Range: bytes=100-`; other ranges are not served as
/// such, which RFC 9110 section 14.2 allows.
fn range_start(line: &str) -> Option<u64> {
    let (name, value) = line.split_once(':')?;
    let range = value.trim().strip_prefix("bytes=")?.strip_suffix('-')?;
    name.eq_ignore_ascii_case("range").then(|| range.parse().ok()).flatten()
}

/// The file that `path` names under `root`; `None` for a path that could leave it.
fn inside(root: &Path, path: &str) -> Option<PathBuf> {
    let path = path.split(['?', '#']).next()?.strip_prefix('/')?;
    let plain =
        |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    let decoded = path.replace("%2B", "+").replace("%2b", "+");
    decoded.split('/').all(plain).then(|| root.join(decoded))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(server: &FileServer, path: &str, range: &str) -> String {
        let mut stream = TcpStream::connect(server.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n{range}\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn put(path: &Path, text: &str) {
        File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn files_are_served_whole_or_from_an_offset_and_nothing_outside_is() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("served")).unwrap();
        put(&directory.path().join("served/a.txt"), "hello world");
        put(&directory.path().join("secret"), "secret");
        let server = FileServer::start(&directory.path().join("served")).unwrap();

        assert!(get(&server, "/a.txt", "").ends_with("\r\n\r\nhello world"));
        let part = get(&server, "/a.txt", "Range: bytes=6-\r\n");
        assert!(part.starts_with("HTTP/1.1 206") && part.ends_with("\r\n\r\nworld"), "{part}");
        assert!(get(&server, "/a.txt", "Range: bytes=11-\r\n").starts_with("HTTP/1.1 416"));
        for path in ["/../secret", "/b.txt", "/", "secret", "//etc/passwd"] {
            assert!(get(&server, path, "").starts_with("HTTP/1.1 404"), "{path}");
        }
        server.serve_instead(directory.path());
        assert!(get(&server, "/secret", "").ends_with("secret"));
    }
}
