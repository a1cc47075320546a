//! TCP and Unix sockets, as one.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::caller::Caller;
use crate::options::Listen;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;

/// A bound socket.
pub(crate) enum Socket {
    Tcp(TcpListener),
    Unix { listener: UnixListener, path: PathBuf, inode: u64 },
}

/// Where a socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// An address, with the port that was taken.
    Tcp(SocketAddr),
    /// A path.
    Unix(PathBuf),
}

impl Socket {
    /// Binds it. Must be called in a runtime.
    ///
    /// # Errors
    /// An address in use, a path where something else is.
    pub(crate) fn bind(listen: &Listen) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => {
                let domain = socket2::Domain::for_address(*address);
                let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
                // Of a server that ended a moment ago; not of one that runs.
                socket.set_reuse_address(true)?;
                socket.set_nonblocking(true)?;
                socket.bind(&(*address).into())?;
                socket.listen(BACKLOG)?;
                Ok(Socket::Tcp(TcpListener::from_std(socket.into())?))
            }
            Listen::Unix(path) => {
                remove_abandoned(path)?;
                let listener = UnixListener::bind(path)?;
                let inode = fs::metadata(path)?.ino();
                Ok(Socket::Unix { listener, path: path.clone(), inode })
            }
        }
    }

    pub(crate) fn bound(&self) -> io::Result<Bound> {
        match self {
            Socket::Tcp(listener) => listener.local_addr().map(Bound::Tcp),
            Socket::Unix { path, .. } => Ok(Bound::Unix(path.clone())),
        }
    }

    /// The next one that waits in the system's queue, also where the runtime was not told of it yet.
    pub(super) fn accept_waiting(&self) -> Option<(Stream, Caller)> {
        match self {
            Socket::Tcp(listener) => {
                let (socket, address) = socket2::SockRef::from(listener).accept().ok()?;
                socket.set_nonblocking(true).ok()?;
                let stream = TcpStream::from_std(socket.into()).ok()?;
                let _ = stream.set_nodelay(true);
                Some((Stream::Tcp(stream), Caller::Tcp(address.as_socket()?)))
            }
            Socket::Unix { listener, .. } => {
                let (socket, _) = socket2::SockRef::from(listener).accept().ok()?;
                socket.set_nonblocking(true).ok()?;
                Some((Stream::Unix(UnixStream::from_std(socket.into()).ok()?), Caller::Unix))
            }
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(Stream, Caller)> {
        match self {
            Socket::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // An answer is one small write. A client that is gone already does not matter.
                let _ = stream.set_nodelay(true);
                Ok((Stream::Tcp(stream), Caller::Tcp(address)))
            }
            Socket::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), Caller::Unix))
            }
        }
    }
}

/// The path goes with the socket, unless a new server has put its own there.
impl Drop for Socket {
    fn drop(&mut self) {
        if let Socket::Unix { path, inode, .. } = self
            && fs::metadata(&*path).is_ok_and(|there| there.ino() == *inode)
        {
            let _ = fs::remove_file(path);
        }
    }
}

/// Removes the socket of a server that is gone: nobody answers at it.
fn remove_abandoned(path: &Path) -> io::Result<()> {
    let Ok(there) = fs::symlink_metadata(path) else { return Ok(()) };
    let is_socket = there.file_type().is_socket();
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if is_socket && error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path)
        }
        // In use, or no socket: binding says so.
        _ => Ok(()),
    }
}

/// A connection's stream.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
