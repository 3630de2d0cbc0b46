//! The gate: it says the same however its input is cut into reads, and whatever it lets pass is read alike by
//! another parser, httparse.

use std::ops::Range;

use gogeta::proxy::gate::{Gate, Limits, Refusal, Verdict, check_head};

/// What gogeta has by itself, and limits that a small input can reach.
const LIMITS: [Limits; 2] = [
    Limits { head: 32 << 10, fields: 100, target: 8 << 10, body: u64::MAX },
    Limits { head: 300, fields: 5, target: 40, body: 50 },
];

/// The input is what a client sends on one connection; each request for another protocol is answered by HTTP.
pub(crate) fn check(bytes: &[u8]) {
    for limits in LIMITS {
        let whole = feed(bytes, &limits, &[]);
        let requests = read(&bytes[..whole.passed(bytes)], &limits);
        agrees(bytes, &whole, &requests);
        for cuts in cuts(bytes) {
            let cut = feed(bytes, &limits, &cuts);
            assert_eq!(cut.waited, whole.waited, "cut at {cuts:?}");
            says_the_same(&whole, &cut);
        }
        within_heads(bytes, &limits, &whole, &requests);
    }
}

/// What became of the input.
struct Outcome {
    /// Where the gate waited for the answer to a request for another protocol.
    waited: Vec<usize>,
    end: Option<End>,
}

/// A refusal.
struct End {
    refusal: Refusal,
    /// How much has passed.
    passed: usize,
    /// Where the read began in which the fault was found.
    read: usize,
    /// Whether the request's head had passed before.
    broken: bool,
}

impl Outcome {
    fn passed(&self, bytes: &[u8]) -> usize {
        self.end.as_ref().map_or(bytes.len(), |end| end.passed)
    }
}

/// Gives the input to a gate, in reads that end at `cuts` (which ascend).
fn feed(bytes: &[u8], limits: &Limits, cuts: &[usize]) -> Outcome {
    let mut gate = Gate::new(*limits);
    let mut waited = Vec::new();
    let mut at = 0;
    for end in cuts.iter().copied().chain([bytes.len()]) {
        while at < end {
            let end_of = |count, refusal, broken| End { refusal, passed: at + count, read: at, broken };
            let found = match gate.judge(&bytes[at..end]) {
                Verdict::Pass => {
                    at = end;
                    None
                }
                Verdict::Hold(count) => {
                    at += count;
                    None
                }
                Verdict::Refuse(count, refusal) => Some(end_of(count, refusal, false)),
                Verdict::Break(count, refusal) => Some(end_of(count, refusal, true)),
            };
            if found.is_some() {
                return Outcome { waited, end: found };
            }
            if gate.is_waiting() {
                waited.push(at);
                gate.go_on();
            }
        }
    }
    Outcome { waited, end: None }
}

/// Ways to cut the input: at every byte, at some single places, and at a few odd distances.
fn cuts(bytes: &[u8]) -> Vec<Vec<usize>> {
    let mut all = vec![(1..bytes.len()).collect()];
    // Other places in each input, and the same each time.
    let first =
        bytes.iter().fold(bytes.len(), |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    let step = bytes.len() / 16 + 1;
    all.extend((first % step..bytes.len()).step_by(step).map(|at| vec![at]));
    all.extend([2, 3, 7, 64].map(|step| (1..bytes.len()).step_by(step).collect()));
    all
}

/// One fault, wherever the input is cut: the same refusal, and at the same request.
fn says_the_same(whole: &Outcome, cut: &Outcome) {
    let (Some(one), Some(other)) = (&whole.end, &cut.end) else {
        let refused = |outcome: &Outcome| outcome.end.as_ref().map(|end| end.refusal);
        assert_eq!(refused(whole), refused(cut), "one is refused, the other passes");
        return;
    };
    // Of a head that has not ended, only what no request begins with is refused: perhaps for another reason than
    // the whole would be, which may break several rules.
    let early = other.refusal.kind == "line" && !other.broken;
    assert!(one.refusal == other.refusal || early, "{:?} became {:?}", one.refusal, other.refusal);
    assert!(!one.broken, "a head passed and its request was refused in the same read");
    if other.broken {
        assert!(other.passed >= one.passed, "less passed than belongs to whole requests");
    } else {
        assert_eq!(other.passed, one.passed.max(other.read), "not the same request is refused");
    }
}

/// A request, as others read it. `None` where it has not ended.
struct Request {
    start: usize,
    head: Option<usize>,
    end: Option<usize>,
    /// Whether it asks for another protocol, and has no body.
    waits: bool,
}

/// The requests that make up what has passed, in another parser's reading.
fn read(bytes: &[u8], limits: &Limits) -> Vec<Request> {
    let mut requests = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let mut request = Request { start: at, head: None, end: None, waits: false };
        let rest = &bytes[at..];
        let empty = rest.chunks(2).take_while(|pair| pair == b"\r\n").count() * 2;
        if let Some(end) = rest[empty..].windows(4).position(|window| window == b"\r\n\r\n") {
            let head = empty + end + 4;
            let (body, upgrade) = read_head(&rest[..head], empty, limits);
            let length = match body {
                Body::Length(length) => Some(length)
                    .filter(|length| *length <= rest[head..].len() as u64)
                    .map(|length| length as usize),
                Body::Chunked => read_chunks(&rest[head..]),
            };
            request.waits = upgrade && matches!(body, Body::Length(0));
            request.head = Some(at + head);
            request.end = length.map(|length| at + head + length);
        }
        at = request.end.unwrap_or(bytes.len());
        requests.push(request);
    }
    requests
}

enum Body {
    Length(u64),
    Chunked,
}

/// Reads a head twice: by httparse, and at its colons and line ends. Gives its framing, and whether it asks for
/// another protocol.
fn read_head(head: &[u8], empty: usize, limits: &Limits) -> (Body, bool) {
    check_head(head, limits).unwrap_or_else(|refusal| panic!("it passed, and now it does not: {refusal:?}"));
    assert!(head.len() <= limits.head);
    let mut fields = vec![httparse::EMPTY_HEADER; limits.fields];
    let mut parsed = httparse::Request::new(&mut fields);
    let status = parsed.parse(head).expect("httparse reads what the gate lets pass");
    assert_eq!(status, httparse::Status::Complete(head.len()), "where the head ends");

    let text = &head[empty..head.len() - 4];
    let mut lines = split(text, b"\r\n").into_iter();
    let line = lines.next().expect("a request line");
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let version = format!("HTTP/1.{}", parsed.version.expect("a version"));
    let read = [parsed.method.expect("a method"), parsed.path.expect("a target"), &version];
    assert_eq!(words, read.map(str::as_bytes), "the request line");
    assert!(read[1].len() <= limits.target);

    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let trimmed = |value: &[u8]| {
        let start = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
        let end = value.iter().rposition(|byte| !is_space(byte)).map_or(start, |at| at + 1);
        value[start..end].to_vec()
    };
    let fields: Vec<(String, Vec<u8>)> = lines
        .map(|line| {
            let colon = line.iter().position(|byte| *byte == b':').expect("a colon");
            (String::from_utf8_lossy(&line[..colon]).into_owned(), trimmed(&line[colon + 1..]))
        })
        .collect();
    let others: Vec<(String, Vec<u8>)> =
        parsed.headers.iter().map(|field| (field.name.to_owned(), field.value.to_vec())).collect();
    assert_eq!(fields, others, "the fields");

    let all = |name: &str| -> Vec<&[u8]> {
        let named = fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.map(|(_, value)| &**value).collect()
    };
    let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
    let body = match (&*lengths, &*codings) {
        ([], []) => Body::Length(0),
        ([length], []) => {
            assert!(length.iter().all(u8::is_ascii_digit), "{length:?} is a length");
            let length = std::str::from_utf8(length).ok().and_then(|length| length.parse().ok());
            Body::Length(length.expect("a length"))
        }
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") && version == "HTTP/1.1" => Body::Chunked,
        _ => panic!("the framing is ambiguous: {lengths:?} {codings:?} {version}"),
    };
    let names_upgrade = |value: &[u8]| {
        value.split(|byte| *byte == b',').any(|option| trimmed(option).eq_ignore_ascii_case(b"upgrade"))
    };
    let upgrade = !all("upgrade").is_empty() && all("connection").into_iter().any(names_upgrade);
    (body, upgrade || read[0] == "CONNECT")
}

/// Where a chunked body ends, if it does; httparse reads the sizes.
fn read_chunks(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        // A line is judged at its end.
        let line = bytes[at..].iter().position(|byte| *byte == b'\n')? + 1;
        let read = httparse::parse_chunk_size(&bytes[at..at + line]);
        let Ok(httparse::Status::Complete((length, size))) = read else { panic!("no chunk size: {read:?}") };
        assert_eq!(length, line, "where the line ends");
        at += line;
        if size == 0 {
            break;
        }
        let data = usize::try_from(size).ok().filter(|size| *size <= bytes.len() - at)?;
        at += data;
        let end = bytes.get(at..at + 2)?;
        assert_eq!(end, b"\r\n", "the end of a chunk");
        at += 2;
    }
    loop {
        let end = bytes[at..].windows(2).position(|window| window == b"\r\n")?;
        at += end + 2;
        if end == 0 {
            return Some(at);
        }
    }
}

fn split<'a>(mut bytes: &'a [u8], mark: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    while let Some(at) = bytes.windows(mark.len()).position(|window| window == mark) {
        parts.push(&bytes[..at]);
        bytes = &bytes[at + mark.len()..];
    }
    parts.push(bytes);
    parts
}

/// What has passed is whole requests, and at the end of a refusal nothing else; the gate waited behind those that
/// ask for another protocol.
fn agrees(bytes: &[u8], whole: &Outcome, requests: &[Request]) {
    if let Some(end) = &whole.end {
        let last = requests.last().map_or(Some(0), |request| request.end);
        assert_eq!(last, Some(end.passed), "what passed before a refusal is whole requests");
        assert!(end.passed <= bytes.len());
    }
    let waits: Vec<usize> =
        requests.iter().filter(|request| request.waits).filter_map(|request| request.end).collect();
    assert_eq!(whole.waited, waits, "where it waits");
}

/// The gate knows where it is: within a head, or not.
fn within_heads(bytes: &[u8], limits: &Limits, whole: &Outcome, requests: &[Request]) {
    let heads: Vec<Range<usize>> =
        requests.iter().map(|request| request.start + 1..request.head.unwrap_or(usize::MAX)).collect();
    let mut gate = Gate::new(*limits);
    for at in 0..whole.passed(bytes) {
        assert_eq!(gate.judge(&bytes[at..at + 1]), Verdict::Pass, "byte {at}");
        gate.go_on();
        let within = heads.iter().any(|head| head.contains(&(at + 1)));
        assert_eq!(gate.is_within_head(), within, "behind byte {at}");
    }
}
