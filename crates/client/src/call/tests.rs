use std::io::{Read as _, Write as _};
use std::sync::Arc;

use super::*;
use crate::fetch::Limits;
use crate::fetch::hostile::{Answerer, Hostile, pour, sit};
use crate::real_world::{Clock as _, RealClock};

fn quick() -> Limits {
    Limits {
        connect: Duration::from_secs(2),
        answer: Duration::from_millis(300),
        stall: Duration::from_millis(200),
        least: 1024,
        small: Duration::from_millis(600),
    }
}

fn client(server: &Hostile) -> Fetcher {
    Fetcher::new(&server.base, quick(), Arc::new(RealClock::start())).unwrap()
}

fn failing(answer: Answerer) -> CallError {
    let server = Hostile::serve(answer);
    client(&server).call(Call::get(format!("{}/api", server.base))).unwrap_err()
}

fn says(text: String) -> Answerer {
    Box::new(move |_, stream| {
        let _ = stream.write_all(text.as_bytes());
    })
}

#[test]
fn a_call_carries_its_method_headers_and_body() {
    let server = Hostile::serve(Box::new(move |_, stream| {
        let head = "HTTP/1.1 201 Created\r\netag: \"5\"\r\ncontent-length: 2\r\n\r\n{}";
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.read(&mut [0; 64]);
    }));
    let call = Call::post(format!("{}/api", server.base), br#"{"a":1}"#.to_vec())
        .with_header("idempotency-key", "one")
        .with_bearer("hush");
    let reply = client(&server).call(call).unwrap();
    let etag = reply.header("etag");
    assert_eq!((reply.status, etag, reply.body.as_slice()), (201, Some("\"5\""), &b"{}"[..]));
    drop(reply);
    let head = server.next_head(Duration::from_secs(5)).to_ascii_lowercase();
    for line in [
        "post /api http/1.1",
        "content-type: application/json",
        "content-length: 7",
        "idempotency-key: one",
        "authorization: bearer hush",
    ] {
        assert!(head.contains(line), "{line} in {head}");
    }
}

#[test]
fn a_refusal_is_told_in_the_servers_words() {
    let body = r#"{"code":"token.used","title":"the token was used","detail":"make another"}"#;
    let failed = failing(says(format!(
        "HTTP/1.1 409 Conflict\r\ncontent-type: application/problem+json\r\nretry-after: 4\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )));
    assert_eq!(failed.code(), "token.used");
    assert_eq!(failed.class(), ErrorClass::Conflict);
    assert_eq!(failed.retry_after(), Some(Duration::from_secs(4)));
    assert_eq!(failed.to_string(), "the token was used: make another");
}

#[test]
fn a_refusal_without_words_is_told_by_its_status() {
    for (status, code) in [
        ("500 Oops", "fetch.busy"),
        ("401 No", "fetch.status"),
        ("404 Nothing", "fetch.not-found"),
        ("302 Elsewhere", "fetch.redirect"),
    ] {
        let failed = failing(says(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")));
        assert_eq!(failed.code(), code);
    }
    let liar = "HTTP/1.1 503 Later\r\ncontent-type: application/problem+json\r\nretry-after: 9\r\n\
                content-length: 21474836480\r\n\r\n{";
    let failed = failing(says(liar.to_owned()));
    assert_eq!((failed.code(), failed.retry_after()), ("fetch.busy", Some(Duration::from_secs(9))));
}

#[test]
fn an_endless_answer_is_cut_at_its_bound() {
    let answer: Answerer = Box::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        pour(stream, format!("1000\r\n{}\r\n", "x".repeat(0x1000)).as_bytes());
    });
    assert_eq!(failing(answer).code(), "fetch.too-large");
}

#[test]
fn a_long_poll_outwaits_the_usual_silence_and_a_silent_server_does_not() {
    let slow: fn() -> Answerer = || {
        Box::new(|_, stream| {
            crate::real_world::Stop::never().wait(Duration::from_millis(700));
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
        })
    };
    assert_eq!(failing(slow()).code(), "fetch.stalled");
    let server = Hostile::serve(slow());
    let call = Call::get(server.base.clone()).answered_within(Duration::from_secs(20));
    assert_eq!(client(&server).call(call).unwrap().body, b"{}");
    assert_eq!(failing(Box::new(|_, stream| sit(stream))).code(), "fetch.stalled");
}

#[test]
fn a_body_that_stops_behind_a_long_poll_is_given_up_soon() {
    let server = Hostile::serve(Box::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{");
        sit(stream);
    }));
    let clock = RealClock::start();
    let call = Call::get(server.base.clone()).answered_within(Duration::from_mins(5));
    assert_eq!(client(&server).call(call).unwrap_err().code(), "fetch.stalled");
    assert!(clock.now().mono < Duration::from_mins(1));
}

#[test]
fn a_stream_is_read_as_it_comes() {
    let server = Hostile::serve(Box::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        for _ in 0..3 {
            let _ = stream.write_all(b"9\r\ndata: 1\n\n\r\n");
            crate::real_world::Stop::never().wait(Duration::from_millis(300));
        }
        sit(stream);
    }));
    let fetcher = client(&server);
    let call = Call::get(server.base.clone());
    let mut answer = fetcher.stream(call, Duration::from_secs(1)).unwrap();
    let (mut parser, mut events, mut piece) = (crate::sse::Parser::default(), 0, [0; 64]);
    let failed = loop {
        match answer.read(&mut piece) {
            Ok(count) => events += parser.feed(&piece[..count]).unwrap().len(),
            Err(error) => break error,
        }
    };
    assert_eq!((events, failed.code()), (3, "fetch.stalled"));
}

#[test]
fn what_no_server_takes_is_not_sent() {
    let clock = Arc::new(RealClock::start());
    let fetcher = Fetcher::new("http://127.0.0.1:9", quick(), clock).unwrap();
    let big = Call::post("http://127.0.0.1:9", vec![b' '; MOST_SENT + 1]);
    assert_eq!(fetcher.call(big).unwrap_err().code(), "call.unsendable");
    let bad = Call::get("http://127.0.0.1:9").with_header("if-match", "a\r\nb: c");
    assert_eq!(fetcher.call(bad).unwrap_err().code(), "call.unsendable");
}
