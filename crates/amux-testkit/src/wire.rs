//! A client of the local socket that knows nothing of ours but the bytes: what a script outside the project would
//! write. The tests' second opinion.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

/// A connection that said hello.
pub struct Wire {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
    next_id: u64,
    pub welcome: Value,
}

impl Wire {
    pub fn connect(socket: &Path) -> io::Result<Self> {
        let mut wire = Self::raw(socket)?;
        wire.send(&json!({ "hello": { "protocol": 1, "client": "testkit", "version": "0" } }))?;
        let frame = wire.frame()?;
        wire.welcome = frame["welcome"].clone();
        if wire.welcome.is_null() { Err(io::Error::other(format!("no welcome: {frame}"))) } else { Ok(wire) }
    }

    /// Without a hello.
    pub fn raw(socket: &Path) -> io::Result<Self> {
        let writer = UnixStream::connect(socket)?;
        writer.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Self { reader: BufReader::new(writer.try_clone()?), writer, next_id: 0, welcome: Value::Null })
    }

    pub fn send(&mut self, frame: &Value) -> io::Result<()> {
        self.write(format!("{frame}\n").as_bytes())
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    /// The next frame, whatever it is.
    pub fn frame(&mut self) -> io::Result<Value> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        serde_json::from_str(&line).map_err(io::Error::other)
    }

    pub fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Sends and returns the id to wait for.
    pub fn start(&mut self, mut frame: Value) -> io::Result<u64> {
        let id = self.next_id();
        frame["id"] = id.into();
        self.send(&frame)?;
        Ok(id)
    }

    /// The answer with this id; events and other answers in between are dropped.
    pub fn answer(&mut self, id: u64) -> io::Result<Value> {
        loop {
            let frame = self.frame()?;
            if frame["id"] == id && (!frame["ok"].is_null() || !frame["error"].is_null()) {
                return Ok(frame);
            }
            if !frame["closing"].is_null() {
                return Err(io::Error::new(io::ErrorKind::ConnectionAborted, frame.to_string()));
            }
        }
    }

    pub fn call(&mut self, frame: Value) -> io::Result<Value> {
        let id = self.start(frame)?;
        self.answer(id)
    }

    /// A command that must be taken.
    pub fn must(&mut self, cmd: &str, args: Value) -> Value {
        let answer = self.call(json!({ "cmd": cmd, "args": args })).expect("the server answers");
        assert!(answer["error"].is_null(), "{cmd}: {answer}");
        answer["ok"].clone()
    }

    pub fn get(&mut self, name: &str, args: Value) -> Value {
        let answer = self.call(json!({ "get": name, "args": args })).expect("the server answers");
        assert!(answer["error"].is_null(), "{name}: {answer}");
        answer["ok"].clone()
    }

    pub fn set_timeout(&self, timeout: Duration) {
        self.writer.set_read_timeout(Some(timeout)).expect("a socket takes a timeout");
    }
}
