//! As much HTTP/1.1 as the agents' clients use: bodies with a length or in chunks, kept connections, event streams.
//! A thread serves a connection; a reader that goes away is noticed at the next write.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// A long conversation with images stays far below it.
const BODY_BYTES_MAX: u64 = 64 << 20;
const LINE_BYTES_MAX: u64 = 64 << 10;
const HEADERS_MAX: usize = 200;

pub(super) struct Incoming {
    pub(super) method: String,
    /// With its query.
    pub(super) target: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Incoming {
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// Serves requests of one connection until a side closes it.
pub(super) fn serve(stream: &TcpStream, answer: impl Fn(&Incoming, Answer<'_>) -> io::Result<()>) -> io::Result<()> {
    // Deltas are small and each shall arrive when it is said.
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader, stream)? {
        answer(&request, Answer { stream, without_body: request.method == "HEAD" })?;
        if request.closes() {
            break;
        }
    }
    Ok(())
}

/// The one answer a request gets: whole or as a stream of events.
pub(super) struct Answer<'a> {
    stream: &'a TcpStream,
    without_body: bool,
}

impl<'a> Answer<'a> {
    pub(super) fn json(mut self, status: u16, body: &Value) -> io::Result<()> {
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            reason(status),
            body.len()
        );
        let body = if self.without_body { "" } else { body.as_str() };
        self.stream.write_all(format!("{head}{body}").as_bytes())
    }

    pub(super) fn events(mut self) -> io::Result<Events<'a>> {
        self.stream.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n",
        )?;
        Ok(Events { stream: self.stream })
    }
}

pub(super) struct Events<'a> {
    stream: &'a TcpStream,
}

impl Events<'_> {
    /// An event with a name, as Anthropic and OpenAI's responses have it.
    pub(super) fn named(&mut self, name: &str, data: &Value) -> io::Result<()> {
        self.chunk(&format!("event: {name}\ndata: {data}\n\n"))
    }

    pub(super) fn data(&mut self, data: &Value) -> io::Result<()> {
        self.chunk(&format!("data: {data}\n\n"))
    }

    pub(super) fn raw(&mut self, data: &str) -> io::Result<()> {
        self.chunk(&format!("data: {data}\n\n"))
    }

    pub(super) fn pause(&mut self, pause: Duration) {
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }

    pub(super) fn end(mut self) -> io::Result<()> {
        self.stream.write_all(b"0\r\n\r\n")
    }

    fn chunk(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes())
    }
}

fn read(reader: &mut BufReader<&TcpStream>, mut stream: &TcpStream) -> io::Result<Option<Incoming>> {
    let Some(first) = line(reader)? else { return Ok(None) };
    let mut words = first.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Err(bad("no request line")) };
    let mut request =
        Incoming { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: Vec::new() };
    loop {
        let header = line(reader)?.ok_or_else(|| bad("the headers do not end"))?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').ok_or_else(|| bad("a header without a colon"))?;
        request.headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        if request.headers.len() > HEADERS_MAX {
            return Err(bad("too many headers"));
        }
    }
    if request.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let chunked = request.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    request.body = if chunked {
        chunks(reader)?
    } else {
        let bytes =
            request.header("content-length").map_or(Ok(0), str::parse).map_err(|_| bad("a length is a number"))?;
        let mut body = Vec::new();
        take(reader, bytes, &mut body)?;
        body
    };
    Ok(Some(request))
}

fn chunks(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = line(reader)?.ok_or_else(|| bad("the chunks do not end"))?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let bytes = u64::from_str_radix(size, 16).map_err(|_| bad("a chunk's size is a number"))?;
        if bytes > 0 {
            take(reader, bytes, &mut body)?;
        }
        // The end of the chunk, or, after the last one, trailers up to an empty line.
        while line(reader)?.is_some_and(|rest| bytes == 0 && !rest.is_empty()) {}
        if bytes == 0 {
            return Ok(body);
        }
    }
}

fn take(reader: &mut impl BufRead, bytes: u64, body: &mut Vec<u8>) -> io::Result<()> {
    if body.len() as u64 + bytes > BODY_BYTES_MAX {
        return Err(bad("a body this large is no conversation"));
    }
    let read = reader.take(bytes).read_to_end(body)?;
    if (read as u64) < bytes { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// None is the end of the connection between two requests.
fn line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    reader.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            Ok(Some(String::from_utf8_lossy(&line).into_owned()))
        }
        Some(_) => Err(bad("a line without an end")),
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        401 => "Unauthorized",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        529 => "Overloaded",
        _ => "Fake",
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
