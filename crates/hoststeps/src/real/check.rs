//! Health checks. Whatever answers is taken for hostile: time, size and form are bounded.
//!
//! There is no TLS here, so that the entrypoint stays small: `https://` addresses can be reached
//! for (a TCP connection), not asked. A release that must check an answer over TLS brings a
//! command for it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use handover_model::CheckKind;

use super::exec;
use crate::real_world::RealClock;
use crate::shell::Clock;
use crate::{CheckAnswer, CommandSpec};

/// How much of an answer is read.
const ANSWER_BYTES: usize = 1 << 20;

pub(super) fn perform(check: &CheckKind, directory: &Utf8Path) -> CheckAnswer {
    match check {
        CheckKind::Http { url, expect, contains, timeout } => {
            match get(url, timeout.duration(), contains.is_some()) {
                Ok(answer) => judge(&answer, *expect, contains.as_deref()),
                Err(why) => CheckAnswer::Ill(why),
            }
        }
        CheckKind::Tcp { address, timeout } => {
            match connect(address, &Limit::of(timeout.duration())) {
                Ok(_) => CheckAnswer::Well,
                Err(why) => CheckAnswer::Ill(why),
            }
        }
        CheckKind::Exec { command, timeout } => run(command, directory, timeout.duration()),
        CheckKind::Reach { url, timeout } => match reach(url, timeout.duration()) {
            Ok(()) => CheckAnswer::Well,
            Err(why) => CheckAnswer::Ill(why),
        },
    }
}

fn judge(answer: &Answer, expect: u16, contains: Option<&str>) -> CheckAnswer {
    if answer.status != expect {
        return CheckAnswer::Ill(format!("answered {}, not {expect}", answer.status));
    }
    match contains {
        Some(text) if !String::from_utf8_lossy(&answer.body).contains(text) => {
            CheckAnswer::Ill(format!("the answer doesn't hold {text:?}"))
        }
        Some(_) | None => CheckAnswer::Well,
    }
}

fn run(command: &[String], directory: &Utf8Path, timeout: Duration) -> CheckAnswer {
    let Some((program, arguments)) = command.split_first() else {
        return CheckAnswer::Ill("the check has no command".to_owned());
    };
    let output = exec::run(&CommandSpec {
        program: Utf8PathBuf::from(program),
        arguments: arguments.to_vec(),
        environment: std::collections::BTreeMap::new(),
        directory: directory.to_owned(),
        user: None,
        timeout,
    });
    let output = match output {
        Ok(output) => output,
        Err(error) => return CheckAnswer::Ill(crate::chain(&error)),
    };
    let last = output.tail.trim().lines().last().unwrap_or("it said nothing").to_owned();
    match output.code {
        Some(0) => CheckAnswer::Well,
        Some(code) => CheckAnswer::Ill(format!("exited with {code}: {last}")),
        None if output.timed_out => CheckAnswer::Ill("took too long".to_owned()),
        None => CheckAnswer::Ill("was ended by a signal".to_owned()),
    }
}

/// Any answer will do: 429 and 5xx are the far side's trouble, not the new version's.
fn reach(url: &str, timeout: Duration) -> Result<(), String> {
    match url.strip_prefix("https://") {
        Some(rest) => {
            let (authority, _) = split_authority(rest);
            connect(&with_port(authority, 443), &Limit::of(timeout)).map(drop)
        }
        None => get(url, timeout, false).map(drop),
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    body: Vec<u8>,
}

/// A GET by HTTP/1.1 (RFC 9112), one connection, closed afterwards. Redirects are answers.
fn get(url: &str, timeout: Duration, want_body: bool) -> Result<Answer, String> {
    let rest = url.strip_prefix("http://").ok_or_else(|| {
        format!("{url:?} is not an http:// address; use an exec check for anything else")
    })?;
    let (authority, path) = split_authority(rest);
    if path.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(format!("{url:?} holds a character that no address may hold"));
    }
    let limit = Limit::of(timeout);
    let mut stream = connect(&with_port(authority, 80), &limit)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: handover\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    );
    limit.set(&stream)?;
    stream.write_all(request.as_bytes()).map_err(|source| said("could not be asked", &source))?;
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(end) = find(&bytes, b"\r\n\r\n") {
            break end;
        }
        if !more(&mut stream, &limit, &mut bytes)? {
            return Err("closed the connection before it answered".to_owned());
        }
    };
    let head = String::from_utf8_lossy(bytes.get(..head_end).unwrap_or_default()).into_owned();
    let status = status_of(&head)?;
    let mut body = bytes.split_off((head_end + 4).min(bytes.len()));
    if want_body {
        let length = header(&head, "content-length").and_then(|text| text.parse::<usize>().ok());
        let whole = |body: &[u8]| length.is_some_and(|length| body.len() >= length);
        while !whole(&body) && more(&mut stream, &limit, &mut body)? {}
        if header(&head, "transfer-encoding").is_some_and(|how| how.eq_ignore_ascii_case("chunked"))
        {
            body = unchunked(&body);
        }
    }
    Ok(Answer { status, body })
}

/// Reads some more; whether there was any.
fn more(stream: &mut TcpStream, limit: &Limit, bytes: &mut Vec<u8>) -> Result<bool, String> {
    if bytes.len() >= ANSWER_BYTES {
        return Err(format!("answered with more than {ANSWER_BYTES} bytes"));
    }
    limit.set(stream)?;
    let mut piece = [0; 8192];
    match stream.read(&mut piece) {
        Ok(0) => Ok(false),
        Ok(count) => {
            bytes.extend_from_slice(piece.get(..count).unwrap_or_default());
            Ok(true)
        }
        Err(source) if source.kind() == io::ErrorKind::Interrupted => Ok(true),
        Err(source) => Err(said("broke off its answer", &source)),
    }
}

fn status_of(head: &str) -> Result<u16, String> {
    let line = head.lines().next().unwrap_or_default();
    let mut words = line.split(' ');
    let version = words.next().unwrap_or_default();
    let status = words.next().unwrap_or_default();
    match status.parse::<u16>() {
        Ok(code) if version.starts_with("HTTP/1.") && status.len() == 3 => Ok(code),
        Ok(_) | Err(_) => {
            let line: String = line.chars().take(40).collect();
            Err(format!("does not speak HTTP: it answered {line:?}"))
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// RFC 9112, section 7.1; whatever doesn't fit ends the body.
fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = find(bytes, b"\r\n") {
        let (line, rest) = bytes.split_at(end);
        let size = String::from_utf8_lossy(line);
        let size = size.split(';').next().unwrap_or_default().trim();
        let Ok(size) = usize::from_str_radix(size, 16) else { break };
        let Some(chunk) = rest.get(2..).and_then(|rest| rest.get(..size)) else { break };
        if size == 0 {
            break;
        }
        body.extend_from_slice(chunk);
        bytes = rest.get(2 + size + 2..).unwrap_or_default();
    }
    body
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn split_authority(rest: &str) -> (&str, &str) {
    match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    }
}

fn with_port(authority: &str, port: u16) -> String {
    // An IPv6 address stands in brackets, so a colon after them is the port's.
    let tail = authority.rsplit(']').next().unwrap_or(authority);
    if tail.contains(':') { authority.to_owned() } else { format!("{authority}:{port}") }
}

fn connect(address: &str, limit: &Limit) -> Result<TcpStream, String> {
    let addresses: Vec<SocketAddr> = address
        .to_socket_addrs()
        .map_err(|source| said(&format!("{address} stands for no address"), &source))?
        .take(4)
        .collect();
    let mut last = format!("{address} stands for no address");
    for one in addresses {
        match TcpStream::connect_timeout(&one, limit.left()?) {
            Ok(stream) => return Ok(stream),
            Err(source) => last = said(&format!("{one} can't be connected to"), &source),
        }
    }
    Err(last)
}

fn said(what: &str, source: &io::Error) -> String {
    if matches!(source.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
        format!("{what}: it took too long")
    } else {
        format!("{what}: {source}")
    }
}

/// One deadline for all of a check, however slowly its bytes drip in.
struct Limit {
    clock: RealClock,
    until: Duration,
}

impl Limit {
    fn of(timeout: Duration) -> Self {
        let clock = RealClock::new(None);
        let until = clock.now().mono.saturating_add(timeout);
        Self { clock, until }
    }

    fn left(&self) -> Result<Duration, String> {
        let left = self.until.saturating_sub(self.clock.now().mono);
        if left.is_zero() { Err("took too long".to_owned()) } else { Ok(left) }
    }

    fn set(&self, stream: &TcpStream) -> Result<(), String> {
        let left = Some(self.left()?);
        stream
            .set_read_timeout(left)
            .and_then(|()| stream.set_write_timeout(left))
            .map_err(|source| said("its connection can't be bounded", &source))
    }
}
