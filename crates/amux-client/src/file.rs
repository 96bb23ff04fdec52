//! Files to and from a server, in parts that fit a frame. What ends in between was never there: it is begun again.

use std::io::{self, Read, Write};

use amux_proto::entity::Attachment;
use amux_proto::view::AttachmentPart;
use amux_proto::{Code, Digest, PART_BYTES_MAX, Rejection};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::client::{Answer, Client, Error, raw};

impl Client {
    /// Brings what a message is to carry; the answer, a [`amux_proto::view::Stored`], says that it is on disk.
    pub fn upload(&mut self, from: &mut impl Read) -> Result<Answer, Error> {
        let (mut offset, mut part) = (0, read(from)?);
        loop {
            // A part that is not full is the last; of one that is, what comes next says.
            let next = if part.len() < PART_BYTES_MAX { Vec::new() } else { read(from)? };
            let last = next.is_empty();
            let args = json!({ "offset": offset, "data": BASE64.encode(&part), "last": last });
            let answer = self.cmd("attachment.put", &args)?;
            if last {
                return Ok(answer);
            }
            offset += part.len();
            part = next;
        }
    }

    /// Writes what is attached to a message, and makes sure that it is what was attached; the answer is the
    /// [`Attachment`].
    pub fn download(&mut self, message: &str, name: Option<&str>, to: &mut impl Write) -> Result<Answer, Error> {
        let (mut offset, mut hash) = (0, Sha256::new());
        loop {
            let answer = self.get("attachment", &json!({ "message": message, "name": name, "offset": offset }))?;
            let part: AttachmentPart =
                serde_json::from_str(answer.body.get()).map_err(|error| Error::Garbled(error.to_string()))?;
            let bytes = BASE64.decode(&part.data).map_err(|error| Error::Garbled(error.to_string()))?;
            hash.update(&bytes);
            to.write_all(&bytes).map_err(|error| here("the file cannot be written", &error))?;
            let Attachment { bytes: whole, digest, .. } = &part.attachment;
            if part.next < *whole && !bytes.is_empty() {
                offset = part.next;
                continue;
            }
            if Digest::of(hash.finalize().into()) != *digest {
                return Err(Error::Garbled("what came is not what was attached".into()));
            }
            return Ok(Answer { body: raw(&part.attachment)?, seq: answer.seq });
        }
    }
}

fn read(from: &mut impl Read) -> Result<Vec<u8>, Error> {
    let mut part = Vec::with_capacity(PART_BYTES_MAX);
    let read = from.take(PART_BYTES_MAX as u64).read_to_end(&mut part);
    read.map_err(|error| here("the file cannot be read", &error))?;
    Ok(part)
}

/// Nobody's fault but this side's, and the same the next time.
fn here(what: &str, error: &io::Error) -> Error {
    Rejection::new(Code::Internal, format!("{what}: {error}")).into()
}
