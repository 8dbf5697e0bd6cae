//! As much of HTTP/1.1 as the example needs: small requests, kept connections.

/// A request that was read whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// The method.
    pub(crate) method: String,
    /// The path.
    pub(crate) path: String,
    /// The body, at most [`MAX_BODY`] bytes.
    pub(crate) body: Vec<u8>,
    /// Whether the connection may be used for another request.
    pub(crate) keep: bool,
}

/// What came of looking for a request in the bytes that arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// A request, and how many bytes it took.
    Request(Request, usize),
    /// More bytes are needed.
    Unfinished,
    /// It never becomes a request.
    Malformed,
}

/// The longest head that is read.
const MAX_HEAD: usize = 8 << 10;
/// The longest body that is read.
const MAX_BODY: usize = 4 << 10;

/// Looks for one request at the start of `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    let Some(head_len) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if bytes.len() > MAX_HEAD { Parsed::Malformed } else { Parsed::Unfinished };
    };
    let Ok(head) = std::str::from_utf8(&bytes[..head_len]) else { return Parsed::Malformed };
    let mut lines = head.split("\r\n");
    let words: Vec<&str> = lines.next().unwrap_or("").split(' ').collect();
    let [method, path, protocol] = words[..] else { return Parsed::Malformed };
    let (mut keep, mut body_len) = (protocol == "HTTP/1.1", 0);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("connection") {
            keep = !value.eq_ignore_ascii_case("close") && keep;
        } else if name.eq_ignore_ascii_case("content-length") {
            let Ok(len) = value.parse() else { return Parsed::Malformed };
            body_len = len;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Parsed::Malformed;
        }
    }
    if body_len > MAX_BODY {
        return Parsed::Malformed;
    }
    let end = head_len + 4 + body_len;
    match bytes.get(head_len + 4..end) {
        None => Parsed::Unfinished,
        Some(body) => {
            let (method, path) = (method.to_owned(), path.to_owned());
            Parsed::Request(Request { method, path, body: body.to_vec(), keep }, end)
        }
    }
}

/// An answer's bytes.
pub(crate) fn answer(status: &str, body: &str, keep: bool) -> Vec<u8> {
    let connection = if keep { "keep-alive" } else { "close" };
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: {connection}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_found_once_it_is_whole() {
        let bytes = b"PUT /note HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET";
        for cut in 0..bytes.len() - 3 {
            assert_eq!(parse(&bytes[..cut]), Parsed::Unfinished, "{cut}");
        }
        let Parsed::Request(request, used) = parse(bytes) else { panic!("not found") };
        assert_eq!((request.body.as_slice(), used), (b"hello".as_slice(), bytes.len() - 3));
        assert!(request.keep);
    }

    #[test]
    fn what_never_becomes_a_request_is_refused() {
        for bad in [
            "GET\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 5000\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            &"a".repeat(9000),
        ] {
            assert_eq!(parse(bad.as_bytes()), Parsed::Malformed, "{bad:.40}");
        }
    }
}
