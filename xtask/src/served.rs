//! A static file server, as small as one can be: no ranges, no keep-alive. Hosts must do with it.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};

/// How long a client may take over its request.
const PATIENCE: Duration = Duration::from_secs(10);
const MAX_HEAD: u64 = 16 << 10;

/// Serves the files below `root` on `address`, from now to the end of this process.
///
/// # Errors
/// When the address can't be had.
pub(crate) fn serve(root: &Utf8Path, address: &str) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).with_context(|| format!("listen on {address}"))?;
    let root = root.to_owned();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let root = root.clone();
            // A connection that breaks concerns nobody but its client.
            thread::spawn(move || drop(answer(&stream, &root)));
        }
    });
    Ok(())
}

fn answer(mut stream: &TcpStream, root: &Utf8Path) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream.take(MAX_HEAD)).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let words: Vec<&str> = request.split(' ').collect();
    let found = match words[..] {
        ["GET", path, _] => inside(root, path).and_then(|path| File::open(path).ok()),
        _ => None,
    };
    let Some(mut file) = found.filter(|file| file.metadata().is_ok_and(|meta| meta.is_file()))
    else {
        let none = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        return stream.write_all(none);
    };
    let length = file.metadata()?.len();
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n")?;
    io::copy(&mut file, &mut stream).map(|_copied| ())
}

/// The file that `path` names under `root`; `None` for a path that could leave it.
fn inside(root: &Utf8Path, path: &str) -> Option<Utf8PathBuf> {
    let path = path.strip_prefix('/')?.replace("%2B", "+").replace("%2b", "+");
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    path.split('/').all(plain).then(|| root.join(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leaves_the_root() {
        let root = Utf8Path::new("/srv");
        assert_eq!(inside(root, "/a/b%2Bc"), Some("/srv/a/b+c".into()));
        for path in ["/../x", "/a/../../x", "//etc", "/", "a"] {
            assert_eq!(inside(root, path), None, "{path}");
        }
    }
}
