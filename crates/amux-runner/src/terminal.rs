//! An agent in a terminal of ours: the keys and pastes it is given, its size, and who has its keyboard.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use amux_proto::entity::{Activity, Phase, Size};
use amux_proto::transcript::InputStage;
use amux_proto::{Code, MessageId, Rejection};
use amux_sys::pour::Channel;
use amux_sys::{process, pty};
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use crate::display::{Display, View, at, neutral, one_line};
use crate::tape::{Poured, Tape};
use crate::{keys, polled};

/// Keys wait at most this long for a program that does not read.
const KEYS_TIMEOUT: Duration = Duration::from_secs(2);

/// Output and keys that follow one another this closely are one thing; then it is looked who has the keyboard.
const SETTLED_AFTER: Duration = Duration::from_millis(150);

pub(crate) struct Terminal {
    pub(crate) display: Display,
    pty: AsyncFd<OwnedFd>,
    channel: Channel,
    /// The terminal says nothing more; only the end of the process is awaited.
    hung_up: bool,
    /// Who may say how large it is: whoever attached or typed last.
    owner: Option<u64>,
    leader: u32,
    /// Whether the leader is a shell, of which can be seen whether it is at its prompt.
    is_shell: bool,
    look_at: Option<Instant>,
}

impl Terminal {
    pub(crate) fn new(
        dir: &Path,
        bytes_max: u64,
        (terminal, channel): (OwnedFd, Channel),
        size: Size,
        (leader, is_shell): (u32, bool),
        known: Activity,
    ) -> io::Result<Self> {
        pty::set_nonblocking(terminal.as_fd())?;
        let mut this = Self {
            display: Display::new(dir, bytes_max, size, known)?,
            pty: polled::both(terminal)?,
            channel,
            hung_up: false,
            owner: None,
            leader,
            is_shell,
            look_at: None,
        };
        this.look_soon();
        Ok(this)
    }

    /// Brings the screen to where the tape is, from what an earlier server wrote down.
    pub(crate) fn take_up(&mut self) {
        // What the earlier server had taken from the terminal and not put on the tape comes first.
        if let Ok(Poured::Bytes(_)) = self.display.tape.drain(&self.channel) {
            tracing::info!(tape = %self.display.tape.dir().display(), "Output was on its way when the server ended.");
        }
        self.display.take_up();
        self.look_soon();
    }

    pub(crate) async fn step(&mut self) {
        let paste_until = self.display.paste_until();
        tokio::select! {
            biased;
            poured = pour(&self.pty, &self.channel, &mut self.display.tape), if !self.hung_up => self.heard(poured),
            () = at(self.look_at) => self.look_who_has_the_keyboard(),
            () = at(paste_until) => self.enter().await,
            () = std::future::pending() => {}
        }
        if self.display.paste_is_shown() {
            self.enter().await;
        }
    }

    fn heard(&mut self, poured: io::Result<Poured>) {
        match poured {
            Ok(Poured::Bytes(_)) => self.feed(),
            Ok(Poured::Lost(_)) => {}
            Ok(Poured::End) | Err(_) => self.hung_up = true,
        }
    }

    fn feed(&mut self) {
        let answers = self.display.feed();
        if !answers.is_empty() {
            // A program that does not read its answers loses them, as with any terminal whose buffer is full.
            let _ = pty::write(self.pty.get_ref().as_fd(), &answers);
        }
        self.display.heed_signs();
        self.look_soon();
    }

    /// Who has the keyboard of a shell says whether it waits for a command.
    fn look_who_has_the_keyboard(&mut self) {
        self.look_at = None;
        if !self.is_shell || self.hung_up {
            return;
        }
        match pty::foreground_group(self.pty.get_ref().as_fd()) {
            Some(group) if group == self.leader => self.display.enters(Phase::Idle, "the shell has the keyboard"),
            Some(group) => {
                let doing = process::command_line(group).map(|line| line.chars().take(120).collect());
                self.display.enters(Phase::Working { doing }, &format!("process {group} has the keyboard"));
            }
            None => {}
        }
    }

    fn look_soon(&mut self) {
        if self.is_shell {
            self.look_at = Some(Instant::now() + SETTLED_AFTER);
        }
    }

    /// For a new viewer, who says how large it is if it comes with a size.
    pub(crate) fn view(&mut self, size: Option<Size>) -> Result<View, Rejection> {
        let viewer = self.display.new_viewer();
        if let Some(size) = size {
            self.owner = Some(viewer);
            self.resize(Some(viewer), size)?;
        }
        Ok(self.display.view(viewer))
    }

    /// From whoever owns the size; others are not heard. `None` is a caller that views nothing and may always.
    pub(crate) fn resize(&mut self, viewer: Option<u64>, size: Size) -> Result<(), Rejection> {
        if viewer.is_some() && viewer != self.owner {
            return Ok(());
        }
        pty::resize(self.pty.get_ref().as_fd(), size.rows, size.cols)
            .map_err(|error| Rejection::new(Code::Conflict, format!("cannot resize: {error}")))?;
        self.display.resize(size);
        Ok(())
    }

    pub(crate) async fn type_keys(&mut self, keys: &[String]) -> Result<(), Rejection> {
        let bytes = keys::encode(keys, self.display.screen.application_cursor())?;
        self.type_bytes(None, &bytes).await
    }

    pub(crate) async fn type_bytes(&mut self, viewer: Option<u64>, bytes: &[u8]) -> Result<(), Rejection> {
        if viewer.is_some() {
            self.owner = viewer;
        }
        let write = async {
            let mut rest = bytes;
            while !rest.is_empty() {
                let mut ready = self.pty.writable().await?;
                match ready.try_io(|fd| pty::write(fd.get_ref().as_fd(), rest)) {
                    Ok(written) => rest = &rest[written?..],
                    Err(_would_block) => {}
                }
            }
            io::Result::Ok(())
        };
        let typed = tokio::time::timeout(KEYS_TIMEOUT, write).await;
        self.look_soon();
        match typed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Rejection::new(Code::Conflict, format!("the terminal takes no keys: {error}"))),
            Err(_) => Err(Rejection::new(Code::TimedOut, "the program does not read its keys: some may have arrived")),
        }
    }

    /// Whether a message can be put in now: one at a time, and not while a command runs in a shell.
    pub(crate) fn takes_input(&self) -> bool {
        let is_free = !self.is_shell || *self.display.phase() == Phase::Idle;
        !self.display.is_pasting() && is_free && !self.hung_up
    }

    /// A message as a paste; Enter follows when it is seen on the screen.
    pub(crate) async fn put_in(&mut self, message: MessageId, text: &str) {
        let text = neutral(text);
        let bytes = match self.display.screen.bracketed_paste() {
            true => format!("\x1b[200~{text}\x1b[201~"),
            false => one_line(&text),
        };
        match self.type_bytes(None, bytes.as_bytes()).await {
            Ok(()) => self.display.pasted(message, &text),
            Err(refusal) => self.display.note(message, InputStage::Unproven, &refusal.message),
        }
    }

    async fn enter(&mut self) {
        let Some(message) = self.display.take_paste() else { return };
        if let Err(refusal) = self.type_bytes(None, b"\r").await {
            self.display.note(message, InputStage::Unproven, &refusal.message);
        } else if self.is_shell {
            // A shell at its prompt has read what is entered there.
            self.display.note(message, InputStage::Begun, "it was entered at the prompt");
        }
    }

    /// What the terminal still has when its process has ended.
    pub(crate) fn drain(&mut self, bytes_max: usize) {
        let mut taken = 0;
        while !self.hung_up && taken < bytes_max {
            match self.display.tape.pour_terminal(self.pty.get_ref().as_fd(), &self.channel) {
                Ok(Poured::Bytes(count) | Poured::Lost(count)) => taken += count,
                Ok(Poured::End) | Err(_) => break,
            }
        }
        self.feed();
        self.display.write_screen();
    }
}

async fn pour(terminal: &AsyncFd<OwnedFd>, channel: &Channel, tape: &mut Tape) -> io::Result<Poured> {
    loop {
        let mut ready = terminal.readable().await?;
        match ready.try_io(|fd| tape.pour_terminal(fd.get_ref().as_fd(), channel)) {
            Ok(poured) => return poured,
            Err(_would_block) => {}
        }
    }
}
