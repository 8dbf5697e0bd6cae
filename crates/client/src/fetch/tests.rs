use std::io::Write as _;

use super::hostile::{Answerer, Hostile, pour, sit};
use super::*;
use crate::real_world::RealClock;

fn quick() -> Limits {
    Limits {
        connect: Duration::from_secs(2),
        answer: Duration::from_millis(300),
        stall: Duration::from_millis(200),
        least: 1024,
        small: Duration::from_millis(600),
    }
}

fn fetch_from(answer: Answerer) -> Result<Vec<u8>, FetchError> {
    let server = Hostile::serve(answer);
    let fetcher = Fetcher::new(&server.base, quick(), Arc::new(RealClock::start())).unwrap();
    fetcher.small(&format!("{}/1.root.json", server.base), 1000)
}

fn code_of(answer: Answerer) -> &'static str {
    fetch_from(answer).expect_err("the server misbehaves").code()
}

fn says(text: &'static str) -> Answerer {
    Box::new(move |_, stream| {
        let _ = stream.write_all(text.as_bytes());
    })
}

#[test]
fn a_small_file_arrives_whole() {
    let got = fetch_from(says("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"));
    assert_eq!(got.unwrap(), b"hello");
}

#[test]
fn garbage_is_called_garbage() {
    assert_eq!(code_of(says("\0\u{1}\u{2}what is this\r\n\r\n")), "fetch.garbage");
    assert_eq!(code_of(says("SSH-2.0-OpenSSH_9.2\r\n\r\n")), "fetch.garbage");
}

#[test]
fn a_silent_server_is_given_up() {
    assert_eq!(code_of(Box::new(|_, stream| sit(stream))), "fetch.stalled");
}

#[test]
fn a_body_that_stops_is_given_up() {
    let answer: Answerer = Box::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\nabc");
        sit(stream);
    });
    assert_eq!(code_of(answer), "fetch.stalled");
}

#[test]
fn a_body_that_drips_is_given_up() {
    let answer: Answerer = Box::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n");
        let pause = crate::real_world::Stop::never();
        while stream.write_all(b"x").is_ok() {
            pause.wait(Duration::from_millis(20));
        }
    });
    assert_eq!(code_of(answer), "fetch.stalled");
}

#[test]
fn headers_without_end_are_refused() {
    let answer: Answerer = Box::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        pour(stream, &b"x-more: of the same, and more of it\r\n".repeat(100));
    });
    assert_eq!(code_of(answer), "fetch.garbage");
}

#[test]
fn twenty_gigabytes_are_refused_by_their_announcement() {
    let answer = says("HTTP/1.1 200 OK\r\ncontent-length: 21474836480\r\n\r\nabc");
    assert_eq!(code_of(answer), "fetch.too-large");
}

#[test]
fn an_endless_body_is_cut_at_the_bound() {
    let answer: Answerer = Box::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        pour(stream, format!("1000\r\n{}\r\n", "x".repeat(0x1000)).as_bytes());
    });
    assert_eq!(code_of(answer), "fetch.too-large");
}

#[test]
fn a_truncated_body_is_not_taken_for_whole() {
    let answer = says("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\nabc");
    assert_eq!(code_of(answer), "fetch.cut");
}

#[test]
fn redirects_are_refused_even_to_the_same_server() {
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let answer: Answerer = Box::new(move |_, stream| {
            let head = format!("HTTP/1.1 {status}\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n");
            let _ = stream.write_all(head.as_bytes());
        });
        assert_eq!(code_of(answer), "fetch.redirect", "{status}");
    }
}

#[test]
fn absence_and_trouble_are_told_apart_and_retry_after_is_read() {
    let empty = "content-length: 0\r\n\r\n";
    for status in ["403 Forbidden", "404 Not Found", "410 Gone"] {
        let head: &'static str = format!("HTTP/1.1 {status}\r\n{empty}").leak();
        assert_eq!(code_of(says(head)), "fetch.not-found");
    }
    let failed =
        fetch_from(says("HTTP/1.1 429 Too Many\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n"))
            .unwrap_err();
    assert_eq!((failed.code(), failed.retry_after()), ("fetch.busy", Some(Duration::from_secs(7))));
    let failed = fetch_from(says(
        "HTTP/1.1 503 Gone Fishing\r\nretry-after: Wed, 21 Oct 2093 07:28:00 GMT\r\n\
         content-length: 0\r\n\r\n",
    ))
    .unwrap_err();
    assert!(failed.retry_after().is_some_and(|wait| wait > Duration::from_hours(24)));
    let odd = says("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(code_of(odd), "fetch.status");
}

#[test]
fn a_port_where_nobody_listens_is_unreachable() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let base = format!("http://{port}");
    let fetcher = Fetcher::new(&base, quick(), Arc::new(RealClock::start())).unwrap();
    assert_eq!(fetcher.small(&base, 10).unwrap_err().code(), "fetch.unreachable");
}

#[test]
fn addresses_that_can_not_be_asked_are_named() {
    for bad in
        ["", "repo", "ftp://example.com/", "file:///etc", "http://", "http://u:p@example.com/"]
    {
        assert_eq!(parse_address(bad).expect_err(bad).code(), "fetch.address");
    }
    assert!(parse_address("https://example.com/repo").is_ok());
}
