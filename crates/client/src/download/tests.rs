use std::io::Write as _;
use std::sync::Arc;

use super::*;
use crate::fetch::Limits;
use crate::fetch::hostile::{Answerer, Hostile, asked_offset, sit};
use crate::real_world::RealClock;

struct Bench {
    dir: tempfile::TempDir,
    content: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        let content = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        Self { dir: tempfile::tempdir().unwrap(), content }
    }

    fn incoming(&self) -> &Utf8Path {
        Utf8Path::from_path(self.dir.path()).unwrap()
    }

    fn leave(&self, bytes: &[u8]) {
        let path = part_path(self.incoming(), &Digest::of(&self.content));
        File::create(path).unwrap().write_all(bytes).unwrap();
    }

    fn run(&self, server: &Hostile, attempts: u32) -> Result<Utf8PathBuf, DownloadError> {
        let clock = RealClock::start();
        let limits = Limits {
            answer: Duration::from_millis(500),
            stall: Duration::from_millis(300),
            ..Limits::default()
        };
        let fetcher = Fetcher::new(&server.base, limits, Arc::new(clock)).unwrap();
        let wanted = Wanted {
            url: format!("{}/web/1.0.0/any.tar.zst", server.base),
            digest: Digest::of(&self.content),
            length: u64::try_from(self.content.len()).unwrap(),
        };
        let mut means = Means {
            clock: &clock,
            stop: &Stop::never(),
            dice: &mut Dice::new(1),
            bucket: &mut Bucket::new(None, Duration::ZERO),
            attempts,
            progress: &mut |_| {},
        };
        download(&fetcher, &wanted, self.incoming(), &mut means)
    }

    fn assert_whole(&self, got: Result<Utf8PathBuf, DownloadError>) {
        assert!(std::fs::read(got.unwrap()).unwrap() == self.content);
        assert!(!part_path(self.incoming(), &Digest::of(&self.content)).exists());
    }

    /// Serves ranges as a good server does.
    fn good(&self) -> Answerer {
        let content = self.content.clone();
        Box::new(move |head, stream| serve_range(&content, head, stream, usize::MAX))
    }
}

fn serve_range(content: &[u8], head: &str, out: &mut std::net::TcpStream, cut_after: usize) {
    let from = asked_offset(head).unwrap_or(0).min(content.len());
    let (rest, all) = (&content[from..], content.len());
    let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
    let _ = write!(
        out,
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\ncontent-range: bytes {from}-{}/{all}\r\n\r\n",
        rest.len(),
        all - 1
    );
    let _ = out.write_all(&rest[..rest.len().min(cut_after)]);
}

#[test]
fn a_package_arrives_whole_and_a_second_call_asks_nobody() {
    let bench = Bench::new();
    let server = Hostile::serve(bench.good());
    bench.assert_whole(bench.run(&server, 1));
    assert_eq!(server.heads().len(), 1);
    bench.assert_whole(bench.run(&server, 1));
    assert_eq!(server.heads().len(), 0);
}

#[test]
fn a_cut_download_is_continued_where_it_stopped() {
    let bench = Bench::new();
    let content = bench.content.clone();
    let server = Hostile::serve(Box::new(move |head, stream| {
        serve_range(&content, head, stream, 500_000);
    }));
    bench.assert_whole(bench.run(&server, 5));
    let offsets: Vec<_> = server.heads().iter().map(|head| asked_offset(head)).collect();
    assert_eq!(offsets, [None, Some(500_000), Some(1_000_000)]);
}

#[test]
fn what_an_earlier_life_left_is_continued_if_it_fits() {
    let bench = Bench::new();
    bench.leave(&bench.content[..700_001]);
    let server = Hostile::serve(bench.good());
    bench.assert_whole(bench.run(&server, 1));
    assert_eq!(asked_offset(&server.heads()[0]), Some(700_001));
}

#[test]
fn old_data_that_does_not_fit_is_fetched_again_once() {
    let bench = Bench::new();
    bench.leave(&vec![0; 700_001]);
    let server = Hostile::serve(bench.good());
    bench.assert_whole(bench.run(&server, 1));
    let offsets: Vec<_> = server.heads().iter().map(|head| asked_offset(head)).collect();
    assert_eq!(offsets, [Some(700_001), None]);
    for wrong in [vec![1; bench.content.len()], vec![1; bench.content.len() + 5]] {
        std::fs::remove_file(whole_path(bench.incoming(), &Digest::of(&bench.content))).unwrap();
        bench.leave(&wrong);
        bench.assert_whole(bench.run(&server, 1));
    }
}

#[test]
fn a_server_that_ignores_ranges_starts_over() {
    let bench = Bench::new();
    bench.leave(&bench.content[..1000]);
    let content = bench.content.clone();
    let server = Hostile::serve(Box::new(move |_, stream| {
        serve_range(&content, "", stream, usize::MAX);
    }));
    bench.assert_whole(bench.run(&server, 1));
}

#[test]
fn a_server_that_continues_elsewhere_is_asked_for_all() {
    let bench = Bench::new();
    bench.leave(&bench.content[..1000]);
    let content = bench.content.clone();
    let server = Hostile::serve(Box::new(move |head, stream| {
        let shifted = if asked_offset(head).is_some() { "range: bytes=5-" } else { "" };
        serve_range(&content, shifted, stream, usize::MAX);
    }));
    bench.assert_whole(bench.run(&server, 1));
    assert_eq!(server.heads().len(), 2);
}

#[test]
fn other_content_of_the_same_length_is_refused_and_not_kept() {
    let bench = Bench::new();
    let other = vec![7; bench.content.len()];
    let server = Hostile::serve(Box::new(move |head, stream| {
        serve_range(&other, head, stream, usize::MAX);
    }));
    assert_eq!(bench.run(&server, 3).unwrap_err().code(), "download.digest");
    assert_eq!(server.heads().len(), 1, "a wrong digest is not retried");
    let part = part_path(bench.incoming(), &Digest::of(&bench.content));
    assert_eq!(std::fs::metadata(part).unwrap().len(), 0);
    assert!(!whole_path(bench.incoming(), &Digest::of(&bench.content)).exists());
}

#[test]
fn a_wrong_length_is_refused_before_a_byte_is_kept() {
    let bench = Bench::new();
    let longer = [bench.content.clone(), vec![0]].concat();
    let server = Hostile::serve(Box::new(move |head, stream| {
        serve_range(&longer, head, stream, usize::MAX);
    }));
    assert_eq!(bench.run(&server, 3).unwrap_err().code(), "download.length");
}

#[test]
fn an_endless_package_is_cut_at_its_length() {
    let bench = Bench::new();
    let server = Hostile::serve(Box::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
        crate::fetch::hostile::pour(stream, chunk.as_bytes());
    }));
    assert_eq!(bench.run(&server, 3).unwrap_err().code(), "download.length");
}

#[test]
fn a_stalled_download_keeps_what_came_and_goes_on() {
    let bench = Bench::new();
    let (content, mut first) = (bench.content.clone(), true);
    let server = Hostile::serve(Box::new(move |head, stream| {
        if std::mem::take(&mut first) {
            serve_range(&content, head, stream, 100_000);
            sit(stream);
        } else {
            serve_range(&content, head, stream, usize::MAX);
        }
    }));
    assert_eq!(bench.run(&server, 1).unwrap_err().code(), "fetch.stalled");
    bench.assert_whole(bench.run(&server, 1));
    assert_eq!(asked_offset(&server.heads()[1]), Some(100_000));
}

#[test]
fn a_busy_server_is_asked_again_after_the_time_that_it_names() {
    let bench = Bench::new();
    let (content, mut asked) = (bench.content.clone(), 0);
    let clock = RealClock::start();
    let server = Hostile::serve(Box::new(move |head, stream| {
        asked += 1;
        let busy = ["429 Too Many Requests", "503 Service Unavailable"];
        match busy.get(asked - 1) {
            Some(status) => {
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"
                );
            }
            None => serve_range(&content, head, stream, usize::MAX),
        }
    }));
    bench.assert_whole(bench.run(&server, 3));
    assert!(clock.now().mono >= Duration::from_secs(2));
}

#[test]
fn a_link_in_place_of_the_part_is_not_followed() {
    let bench = Bench::new();
    let part = part_path(bench.incoming(), &Digest::of(&bench.content));
    let victim = bench.incoming().join("victim");
    File::create(&victim).unwrap().write_all(b"precious").unwrap();
    std::os::unix::fs::symlink(&victim, &part).unwrap();
    let server = Hostile::serve(bench.good());
    assert_eq!(bench.run(&server, 1).unwrap_err().code(), "download.disk");
    assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
}
