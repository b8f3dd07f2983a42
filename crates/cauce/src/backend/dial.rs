//! Opening the byte stream to a broker: TCP, TLS, Unix socket, a pipe inside the process, or whoever holds a directory.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::address::{Address, Place};
use crate::error::ConnectError;

/// How long opening a connection may take, log-in included.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// Any byte stream, so that everything above is written once.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// Where connections come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Network(Place),
    #[cfg(feature = "embedded")]
    Embedded(super::embedded::Embedded),
    #[cfg(feature = "embedded")]
    Directory(super::directory::Directory),
}

impl Source {
    /// # Errors
    /// If this build has no way to such a place, or the directory cannot be used.
    pub(super) fn of(address: &Address) -> Result<Self, ConnectError> {
        match &address.place {
            #[cfg(feature = "embedded")]
            Place::Memory(name) => Ok(Self::Embedded(super::embedded::Embedded::named(name.as_deref()))),
            #[cfg(feature = "embedded")]
            Place::Directory(path) => Ok(Self::Directory(super::directory::Directory::of(path)?)),
            #[cfg(not(feature = "embedded"))]
            Place::Memory(_) | Place::Directory(_) => Err(ConnectError::NotEmbedded),
            place => Ok(Self::Network(place.clone())),
        }
    }

    /// How long opening a connection may take, log-in included.
    pub(super) fn patience(&self) -> Duration {
        match self {
            #[cfg(feature = "embedded")]
            Self::Directory(_) => super::directory::OPEN_TIMEOUT,
            _ => OPEN_TIMEOUT,
        }
    }

    /// Opens one more connection.
    ///
    /// # Errors
    /// If nobody is there, or the broker of a directory cannot be opened.
    pub(super) async fn open(&self, address: &Address) -> Result<Box<dyn ByteStream>, ConnectError> {
        let unreachable = |source| ConnectError::Unreachable { url: address.to_string(), source };
        match self {
            #[cfg(feature = "embedded")]
            Self::Directory(directory) => directory.open().await,
            other => other.reach().await.map_err(unreachable),
        }
    }

    async fn reach(&self) -> io::Result<Box<dyn ByteStream>> {
        match self {
            Self::Network(Place::Tcp { host, port, tls }) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                if *tls { secured(host, stream).await } else { Ok(Box::new(stream)) }
            }
            #[cfg(unix)]
            Self::Network(Place::Unix(path)) => Ok(Box::new(tokio::net::UnixStream::connect(path).await?)),
            #[cfg(not(unix))]
            Self::Network(Place::Unix(_)) => {
                Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no Unix sockets"))
            }
            Self::Network(Place::Memory(_) | Place::Directory(_)) => {
                Err(io::Error::new(io::ErrorKind::Unsupported, "not a network address"))
            }
            #[cfg(feature = "embedded")]
            Self::Embedded(broker) => broker.open(),
            #[cfg(feature = "embedded")]
            Self::Directory(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

async fn secured(host: &str, stream: TcpStream) -> io::Result<Box<dyn ByteStream>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(tls_config()?).connect(name, stream).await?;
    Ok(Box::new(stream))
}

/// Trusts the certificates of the system. Read once: it takes milliseconds.
fn tls_config() -> io::Result<Arc<ClientConfig>> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::clone(CONFIG.get_or_init(|| Arc::new(config))))
}
