//! Server-sent events (HTML Living Standard, section 9.2) out of whatever pieces the bytes come
//! in. Bounded: an event that never ends is an error, not a growing buffer.

/// The most bytes that one event may have.
const LONGEST: usize = 1024 * 1024;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// Where to go on after a cut (`Last-Event-ID`), where the server says.
    pub id: Option<String>,
    /// The kind; `message` where the server says none.
    pub kind: String,
    /// The data, lines joined.
    pub data: String,
}

/// An event that is longer than any may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server sends an event that does not end")]
pub struct Endless;

/// Collects bytes into events.
#[derive(Debug, Default)]
pub struct Parser {
    rest: Vec<u8>,
    event: Event,
    has_data: bool,
}

impl Parser {
    /// Takes in what arrived and returns the events that are whole now. Comments, which keep a
    /// connection awake, are none.
    ///
    /// # Errors
    /// [`Endless`].
    pub fn feed(&mut self, piece: &[u8]) -> Result<Vec<Event>, Endless> {
        self.rest.extend_from_slice(piece);
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines: Vec<u8> = self.rest.drain(..whole).collect();
        let mut events = Vec::new();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(line);
            events.extend(self.line(line.trim_end_matches(['\r', '\n'])));
        }
        if self.rest.len().saturating_add(self.event.data.len()) > LONGEST {
            return Err(Endless);
        }
        Ok(events)
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let mut event = std::mem::take(&mut self.event);
            if event.kind.is_empty() {
                "message".clone_into(&mut event.kind);
            }
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.event.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event.kind),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            // Comments (an empty field) and whatever a newer server may say.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str =
        ": awake\n\nid: 7\nevent: order\ndata: {\"a\":1}\ndata: more\n\nretry: 3\r\ndata:x\r\n\r\n";

    fn expected() -> Vec<Event> {
        vec![
            Event { id: Some("7".into()), kind: "order".into(), data: "{\"a\":1}\nmore".into() },
            Event { id: None, kind: "message".into(), data: "x".into() },
        ]
    }

    proptest! {
        #[test]
        fn events_do_not_depend_on_how_the_bytes_are_cut(
            cuts in proptest::collection::vec(0..STREAM.len(), 0..8)
        ) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let mut parser = Parser::default();
            let mut events = Vec::new();
            for pair in cuts.windows(2) {
                events.extend(parser.feed(&STREAM.as_bytes()[pair[0]..pair[1]]).unwrap());
            }
            prop_assert_eq!(events, expected());
        }
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut parser = Parser::default();
        let line = format!("data: {}\n", "x".repeat(60_000));
        let refused = (0..40).any(|_| parser.feed(line.as_bytes()) == Err(Endless));
        assert!(refused);
        assert_eq!(Parser::default().feed(&vec![b'x'; LONGEST + 1]), Err(Endless));
    }
}
