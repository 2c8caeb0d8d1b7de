//! What answers a client of PostgreSQL that it speaks no TLS.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

/// Serves one client: the port, and what the client tells it after that answer.
pub(crate) fn without_tls() -> (u16, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        // The request for TLS, as the protocol has it.
        let mut asked = [0; 8];
        client.read_exact(&mut asked).unwrap();
        assert_eq!(asked, [0, 0, 0, 8, 4, 210, 22, 47]);
        client.write_all(b"N").unwrap();
        let mut told = Vec::new();
        // The other side may reset what it did not read.
        let _ended = client.read_to_end(&mut told);
        told
    });
    (port, served)
}
