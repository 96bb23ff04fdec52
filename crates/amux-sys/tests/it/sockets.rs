//! Local sockets and what travels over them.

use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use amux_sys::{fdpass, notify, process, socket};

use super::{output_of, role};

#[test]
fn a_manager_gets_words_descriptors_and_the_sender() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify.sock");
    let (manager, _guard) = socket::bind_datagram(&path).unwrap();
    fdpass::want_credentials(&manager).unwrap();
    let notifier = notify::Notifier::from_env_value(Some(path.as_os_str())).unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    notifier.store_fds("a.1", &[file.as_fd(), file.as_fd()]).unwrap();
    let mut buffer = [0; 4096];
    let received = fdpass::recv_with_fds(&manager, &mut buffer).unwrap();
    assert_eq!(&buffer[..received.bytes], b"FDSTORE=1\nFDNAME=a.1\nFDPOLL=0");
    assert_eq!((received.fds.len(), received.pid), (2, Some(std::process::id())));
    notifier.send(&[("STATUS", "two\nlines")]).unwrap();
    let received = fdpass::recv_with_fds(&manager, &mut buffer).unwrap();
    assert_eq!(&buffer[..received.bytes], b"STATUS=two lines");
    assert!(!notify::Notifier::from_env_value(None).unwrap().is_connected());
}

#[test]
fn a_socket_is_replaced_without_a_moment_in_which_there_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    let mut current = socket::bind_stream(&path).unwrap();
    let done = AtomicBool::new(false);
    let connected = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let connecting = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
                socket::connect_stream(&path, Duration::from_secs(5)).unwrap();
                connected.fetch_add(1, Ordering::SeqCst);
            }
        });
        for _ in 0..300 {
            let next = socket::bind_stream(&path).unwrap();
            // Whoever had found the older one is through; one that was closed meanwhile would refuse it.
            let before = connected.load(Ordering::SeqCst);
            while connected.load(Ordering::SeqCst) == before && !connecting.is_finished() {
                std::thread::yield_now();
            }
            // The older one is closed after it has been replaced, as a server that heals itself does.
            current = next;
        }
        done.store(true, Ordering::Relaxed);
        connecting.join().unwrap();
    });
    drop(current);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left beside it");
}

#[test]
fn a_full_queue_is_waited_for_and_not_longer_than_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    let listener =
        rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, None).unwrap();
    rustix::net::bind(&listener, &rustix::net::SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let mut waiting = Vec::new();
    let began = Instant::now();
    let error = loop {
        match socket::connect_stream(&path, Duration::from_millis(200)) {
            Ok(stream) => waiting.push(stream),
            Err(error) => break error,
        }
        assert!(waiting.len() < 100);
    };
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert!(began.elapsed() < Duration::from_secs(10));
    std::thread::scope(|scope| {
        let late = scope.spawn(|| socket::connect_stream(&path, Duration::from_secs(20)));
        rustix::net::accept(&listener).unwrap();
        late.join().unwrap().unwrap();
    });
}

#[test]
fn nobody_there_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let kind = |name: &str| socket::connect_stream(&dir.path().join(name), Duration::from_secs(20)).unwrap_err().kind();
    assert_eq!(kind("nothing"), std::io::ErrorKind::NotFound);
    std::mem::drop(std::os::unix::net::UnixListener::bind(dir.path().join("stale")).unwrap());
    assert_eq!(kind("stale"), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn what_is_no_socket_of_ours_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::os::unix::fs::symlink("nowhere", path("dangling")).unwrap();
    std::fs::create_dir(path("directory")).unwrap();
    for name in ["dangling", "directory"] {
        assert_eq!(socket::bind_stream(&path(name)).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
        assert!(path(name).symlink_metadata().is_ok());
    }
    if process::uid() == 0 {
        let foreign = std::os::unix::net::UnixListener::bind(path("foreign")).unwrap();
        std::os::unix::fs::chown(path("foreign"), Some(12345), None).unwrap();
        let error = socket::bind_datagram(&path("foreign")).unwrap_err();
        assert!(error.to_string().contains("12345"), "{error}");
        drop(foreign);
    }
}

#[test]
fn as_many_descriptors_as_the_kernel_takes_arrive_in_order_and_closed_on_exec() {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let files: Vec<_> = (0..fdpass::FDS_PER_MESSAGE_MAX)
        .map(|n| {
            std::fs::write(dir.path().join(n.to_string()), n.to_string()).unwrap();
            std::fs::File::open(dir.path().join(n.to_string())).unwrap()
        })
        .collect();
    let borrowed: Vec<BorrowedFd<'_>> = files.iter().map(|file| file.as_fd()).collect();
    fdpass::send_with_fds(&ours, b"all", &borrowed).unwrap();
    let received = fdpass::recv_with_fds(&theirs, &mut [0; 8]).unwrap();
    assert_eq!((received.bytes, received.fds.len(), received.uid), (3, files.len(), None));
    for (n, fd) in received.fds.into_iter().enumerate() {
        assert!(rustix::io::fcntl_getfd(&fd).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        let mut text = String::new();
        std::fs::File::from(fd).read_to_string(&mut text).unwrap();
        assert_eq!(text, n.to_string());
    }
    let more = vec![files[0].as_fd(); fdpass::FDS_PER_MESSAGE_MAX + 1];
    assert!(fdpass::send_with_fds(&ours, b"more", &more).is_err());
    assert_eq!(fdpass::recv_with_fds(&theirs, &mut [0; 8]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn a_message_too_large_for_us_is_an_error_and_what_came_with_it_is_closed() {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    let (mut read, write) = std::io::pipe().unwrap();
    fdpass::send_with_fds(&ours, b"too long", &[write.as_fd()]).unwrap();
    drop(write);
    assert_eq!(fdpass::recv_with_fds(&theirs, &mut [0; 4]).unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    // The end comes only when nobody holds the other side any more.
    assert_eq!(read.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn descriptors_we_have_no_room_for_are_an_error_and_none_is_kept() {
    assert_eq!(output_of(&role(&["cut-off"])), "descriptors were cut off, kept: 0\n");
}

#[test]
fn many_descriptors_are_stored_in_several_messages_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify.sock");
    let (manager, _guard) = socket::bind_datagram(&path).unwrap();
    let notifier = notify::Notifier::from_env_value(Some(path.as_os_str())).unwrap();
    let null = std::fs::File::open("/dev/null").unwrap();
    notifier.store_fds("many", &vec![null.as_fd(); 300]).unwrap();
    let mut buffer = [0; 256];
    let counts = [(); 2].map(|()| fdpass::recv_with_fds(&manager, &mut buffer).unwrap().fds.len());
    assert_eq!(counts, [253, 47]);
}

#[test]
fn a_manager_with_an_abstract_name_is_found() {
    use std::os::linux::net::SocketAddrExt as _;
    let name = format!("amux-sys-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let manager = UnixDatagram::bind_addr(&address).unwrap();
    let notifier = notify::Notifier::from_env_value(Some(format!("@{name}").as_ref())).unwrap();
    notifier.send(&[("READY", "1"), ("STATUS", "serving")]).unwrap();
    let mut buffer = [0; 64];
    let count = manager.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..count], b"READY=1\nSTATUS=serving");
}

#[test]
fn a_manager_that_does_not_read_does_not_hold_us_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify.sock");
    let (_manager, _guard) = socket::bind_datagram(&path).unwrap();
    let notifier = notify::Notifier::from_env_value(Some(path.as_os_str())).unwrap();
    let began = Instant::now();
    let refused = (0..100_000).find_map(|_| notifier.send(&[("STATUS", "again")]).err()).unwrap();
    assert_eq!(refused.kind(), std::io::ErrorKind::WouldBlock);
    assert!(began.elapsed() < Duration::from_secs(20));
}
