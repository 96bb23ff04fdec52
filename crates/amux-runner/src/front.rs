//! Who has the keyboard of a terminal in which an agent is meant to be. A terminal outlives the program it was meant
//! for: the shell that is there when it has ended runs whatever it is sent. So what has the keyboard is looked at
//! whenever something was printed, and once more before a message is put in and before it is entered.
//!
//! The first program seen there that is no shell is the agent. Where there was a shell from the beginning it is a shell
//! that was meant, until a CLI that is known to be an agent is begun in it.

use amux_proto::entity::Front;
use amux_sys::process;

/// Not oftener than this is it looked after output: programs that draw all the time would be looked at all the time.
pub(crate) const LOOK_AFTER: std::time::Duration = std::time::Duration::from_millis(400);

pub(crate) const NOT_ENTERED: &str = "its program had left the terminal before it was entered";

const SHELLS: [&str; 17] = [
    "ash", "bash", "csh", "dash", "elvish", "fish", "ion", "ksh", "mksh", "nu", "oksh", "pwsh", "rbash", "sh", "tcsh",
    "xonsh", "zsh",
];

/// Behind these there is most often a shell, which cannot be seen from here: they count as one.
const LEADS_TO_A_SHELL: [&str; 12] =
    ["ssh", "mosh", "su", "sudo", "doas", "docker", "podman", "kubectl", "tmux", "screen", "script", "machinectl"];

/// Of these the name of what they run says more.
const RUNNERS: [&str; 11] =
    ["bun", "busybox", "deno", "env", "node", "nodejs", "perl", "python", "ruby", "toybox", "uv"];

/// A program is named within its first words; what comes then is said to it.
const NAMED_WITHIN: usize = 3;

/// What a shell is told with a word behind it, and is at its prompt all the same.
const TOLD_WITH_MORE: [(&str, &[&str]); 5] = [
    ("elvish", &["-rc"]),
    ("fish", &["-C", "--init-command", "-d", "--debug", "--debug-output", "-f", "--features"]),
    ("nu", &["-e", "--execute", "--config", "--env-config", "--plugin-config", "-I", "--include-path", "--log-level"]),
    ("pwsh", &["-executionpolicy", "-ep", "-ex", "-workingdirectory", "-wd", "-configurationname"]),
    ("xonsh", &["--rc", "-D", "--shell-type"]),
];

pub(crate) struct Watch {
    /// Programs that are agents wherever they run.
    clis: Vec<String>,
    /// The agent was begun by a shell that was told what to run: one program after another, each of them the agent.
    is_script: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Who {
    /// Or what leads to one.
    Shell(String),
    Cli(String),
    Other(String),
}

impl Watch {
    /// Of a pane, whatever is there.
    pub(crate) fn new(clis: Vec<String>) -> Self {
        Self { clis, is_script: false }
    }

    /// Of a program of ours, with how it is before anything is seen of it: the program is the agent, and of a shell
    /// nothing is known yet.
    pub(crate) fn begun(clis: Vec<String>, words: &[String], leader: u32) -> (Self, Front) {
        let front = match who(words, &clis) {
            Some(Who::Cli(name) | Who::Other(name)) => there(name, leader),
            Some(Who::Shell(_)) | None => Front::default(),
        };
        let is_script = front.program.as_deref().is_some_and(is_shell_name);
        (Self { clis, is_script }, front)
    }

    /// How it is now, by the process group that has the keyboard. What cannot be seen is as it was.
    pub(crate) fn look(&mut self, known: &Front, group: Option<u32>) -> Front {
        let seen = group.and_then(|group| Some((group, who(&process::arguments(group)?, &self.clis)?)));
        let Some((group, who)) = seen else { return known.clone() };
        self.judged(known, who, group)
    }

    fn judged(&mut self, known: &Front, who: Who, group: u32) -> Front {
        let is_there = known.instead.is_none();
        let is_shell_name = known.program.as_deref().is_some_and(is_shell_name);
        self.is_script |= is_shell_name && is_there;
        let is_cli = |program: &String| self.clis.contains(program);
        match (&known.program, who) {
            (_, Who::Shell(name)) => Front { instead: Some(name), is_shell: true, ..known.clone() },
            (None, Who::Cli(name)) => there(name, group),
            (Some(_), Who::Cli(name)) if is_shell_name => there(name, group),
            (Some(program), Who::Cli(name) | Who::Other(name))
                if is_there && (is_shell_name || self.is_script && !is_cli(program)) =>
            {
                there(name, group)
            }
            (Some(program), Who::Cli(name) | Who::Other(name)) if known.group == Some(group) || *program == name => {
                there(program.clone(), group)
            }
            // What a shell runs comes and goes, and what is typed meanwhile the shell reads.
            (_, Who::Other(_)) if known.is_shell => known.clone(),
            (None, Who::Other(name)) => there(name, group),
            (Some(_), Who::Cli(name) | Who::Other(name)) => {
                Front { instead: Some(name), is_shell: false, ..known.clone() }
            }
        }
    }
}

fn there(program: String, group: u32) -> Front {
    Front { program: Some(program), group: Some(group), ..Front::default() }
}

/// `None` of a process without a command line: it is just ending.
fn who(words: &[String], clis: &[String]) -> Option<Who> {
    let is_cli = |name: &str| clis.iter().any(|cli| cli == name);
    let first = base(words.first()?);
    if is_shell_name(first) && is_prompt(unversioned(first), &words[1..]) {
        return Some(Who::Shell(first.to_owned()));
    }
    // Before the names in it: a host, a user or a container may be called as a CLI is.
    if LEADS_TO_A_SHELL.contains(&first) && !is_cli(first) {
        return Some(Who::Shell(first.to_owned()));
    }
    let mut names = words.iter().take(NAMED_WITHIN).flat_map(|word| word.split_whitespace().take(2)).map(base);
    if let Some(cli) = names.find(|name| is_cli(name)) {
        return Some(Who::Cli(cli.to_owned()));
    }
    let is_runner = RUNNERS.contains(&unversioned(first));
    let runs = (1..words.len().min(NAMED_WITHIN)).find(|at| is_runner && !words[*at].starts_with('-'));
    Some(match runs.map(|at| &words[at..]).and_then(|words| who(words, clis)) {
        // A script of this name is none of those programs.
        Some(Who::Shell(name)) if !is_shell_name(&name) => Who::Other(name),
        Some(who) => who,
        None => Who::Other(first.to_owned()),
    })
}

/// Without the path, the dash of a login shell, what scripts end in, and the colon of a title.
fn base(word: &str) -> &str {
    let word = word.split_whitespace().next().unwrap_or(word);
    let name = word.rsplit('/').next().unwrap_or(word).trim_start_matches('-').trim_end_matches(':');
    [".js", ".mjs", ".cjs", ".py"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

/// Of `python3.12` and `zsh-5.9` the name.
fn unversioned(name: &str) -> &str {
    name.trim_end_matches(|end: char| end.is_ascii_digit() || end == '.' || end == '-')
}

fn is_shell_name(name: &str) -> bool {
    SHELLS.contains(&unversioned(name))
}

/// Whether a shell that was told this reads what is typed: one with a script or a command does as it was told.
fn is_prompt(shell: &str, said: &[String]) -> bool {
    let more = TOLD_WITH_MORE.iter().find(|(name, _)| *name == shell).map_or(&[][..], |(_, more)| more);
    let mut said = said.iter().map(String::as_str);
    while let Some(word) = said.next() {
        match word {
            stays if shell == "pwsh" && stays.eq_ignore_ascii_case("-noexit") => return true,
            told if shell == "pwsh" && more.contains(&told.to_ascii_lowercase().as_str()) => drop(said.next()),
            told if more.contains(&told) => drop(said.next()),
            "--rcfile" | "--init-file" | "-o" | "+o" | "-O" | "+O" => drop(said.next()),
            "-norc" => {}
            "--command" | "--commands" => return false,
            told if told.starts_with("--command=") => return false,
            long if long.starts_with("--") => {}
            // Letters in a row: `-lic` is told a command. Longer ones are words, as PowerShell has them.
            letters if letters.starts_with(['-', '+']) => {
                if letters.len() <= 5 && letters.contains('c') {
                    return false;
                }
            }
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split('|').map(str::to_owned).collect()
    }

    fn seen(line: &str) -> Who {
        who(&words(line), &["claude".to_owned(), "codex".to_owned()]).unwrap()
    }

    #[test]
    fn a_shell_at_its_prompt_is_told_from_a_program() {
        let shells = [
            "-bash",
            "/bin/sh",
            "zsh|-i",
            "bash|--rcfile|/tmp/rc",
            "fish|--login",
            "bash|-l|-o|vi",
            "pwsh|-NoLogo",
            "fish|-C|starship init",
            "fish|--init-command=starship init",
            "nu|--config|f",
            "nu|-e|cd /",
            "elvish|-rc|f",
            "pwsh|-ExecutionPolicy|Bypass|-NoExit|-Command|x",
            "busybox|sh",
            "busybox|ash|-i",
            "python3|/usr/bin/xonsh",
            "python3.12|/usr/bin/xonsh|--rc|f",
            "zsh-5.9",
        ];
        for shell in shells {
            assert!(matches!(seen(shell), Who::Shell(_)), "{shell}: {:?}", seen(shell));
        }
        let others = [
            ("sh|-c|claude; exec sh", Who::Other("sh".into())),
            ("bash|-lic|make", Who::Other("bash".into())),
            ("sh|./work.sh", Who::Other("sh".into())),
            ("bash|-C|./work.sh", Who::Other("bash".into())),
            ("fish|-C|x|./work.fish", Who::Other("fish".into())),
            ("pwsh|-Command|x", Who::Other("pwsh".into())),
            ("nu|--commands|ls", Who::Other("nu".into())),
            ("busybox|sh|./work.sh", Who::Other("sh".into())),
            ("busybox|vi", Who::Other("vi".into())),
            ("python3|script.py", Who::Other("script".into())),
            ("/usr/bin/vim|sh", Who::Other("vim".into())),
            ("claude", Who::Cli("claude".into())),
            ("node|/usr/lib/node_modules/.bin/codex.js|resume", Who::Cli("codex".into())),
            ("claude --resume|", Who::Cli("claude".into())),
            ("python3|-u|/opt/agent.py", Who::Other("agent".into())),
        ];
        for (line, who) in others {
            assert_eq!(seen(line), who, "{line}");
        }
    }

    #[test]
    fn what_leads_to_a_shell_counts_as_one_whatever_the_place_is_called() {
        for leads in
            ["ssh|host", "ssh|claude", "sudo|-i", "su|-", "su|-|claude", "docker|exec|-it|claude|sh", "tmux: client"]
        {
            assert!(matches!(seen(leads), Who::Shell(_)), "{leads}: {:?}", seen(leads));
            let front = pane().judged(&Front::default(), seen(leads), 7);
            assert!(front.is_shell && !front.is_away(), "{leads}: {front:?}");
        }
        assert_eq!(who(&words("docker|run|x"), &["docker".to_owned()]), Some(Who::Cli("docker".into())));
    }

    fn pane() -> Watch {
        Watch::new(vec!["claude".into(), "codex".into()])
    }

    fn shell() -> Who {
        Who::Shell("sh".into())
    }

    fn cli(name: &str) -> Who {
        Who::Cli(name.into())
    }

    fn other(name: &str) -> Who {
        Who::Other(name.into())
    }

    #[test]
    fn the_agent_is_there_until_another_has_its_keyboard_and_again_when_it_is_back() {
        let mut pane = pane();
        let mut front = pane.judged(&Front::default(), cli("claude"), 7);
        let claude = there("claude".into(), 7);
        assert_eq!(front, claude);
        for (other, is_shell) in [(other("vim"), false), (shell(), true), (cli("codex"), false)] {
            front = pane.judged(&front, other.clone(), 8);
            assert!(front.is_away() && front.is_shell == is_shell, "{other:?}: {front:?}");
        }
        front = pane.judged(&front, cli("claude"), 9);
        assert_eq!(front, there("claude".into(), 9));
        // It calls itself something else, and is still the same process; also for a server that did not see it begin.
        assert_eq!(Watch::new(Vec::new()).judged(&claude, other("2.1.5"), 7), claude);
        assert!(pane.judged(&claude, shell(), 7).is_away(), "it has become a shell");
    }

    #[test]
    fn what_is_begun_in_the_shell_that_an_agent_was_left_to_is_not_asked_to_hear_for_it() {
        let mut pane = pane();
        let left = pane.judged(&there("claude".into(), 7), shell(), 8);
        assert_eq!(pane.judged(&left, other("make"), 9), left);
    }

    #[test]
    fn a_shell_that_was_meant_stays_one_until_an_agent_is_begun_in_it() {
        let mut pane = pane();
        let front = pane.judged(&Front::default(), shell(), 7);
        assert!(!front.is_away() && front.is_shell);
        assert_eq!(pane.judged(&front, other("make"), 8), front);
        let claude = pane.judged(&front, cli("claude"), 8);
        assert_eq!(claude, there("claude".into(), 8));
        assert!(pane.judged(&claude, shell(), 7).is_away());
    }

    #[test]
    fn what_a_shell_was_told_to_run_is_the_agent_one_program_after_another() {
        let said = words("bash|-lic|nvm use 20; aider; exec bash");
        let (mut watch, mut front) = Watch::begun(vec!["claude".into()], &said, 7);
        assert!(!front.is_away());
        for (seen, group) in [("bash", 7), ("curl", 8), ("awk", 9), ("aider", 10)] {
            front = watch.judged(&front, other(seen), group);
            assert_eq!(front, there(seen.into(), group));
        }
        let left = watch.judged(&front, Who::Shell("bash".into()), 7);
        assert!(left.is_away() && left.is_shell);
        assert_eq!(watch.judged(&left, other("make"), 11), left);
        // A known CLI is the one that was meant.
        let claude = watch.judged(&front, cli("claude"), 12);
        assert!(watch.judged(&claude, other("less"), 13).is_away());
    }
}
