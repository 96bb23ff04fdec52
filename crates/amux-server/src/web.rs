//! The pages of the web interface, which are in the program. They hold nothing of anybody's, so everybody may read
//! them; what they show comes over the stream, to whoever is signed in.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

/// One file, packed in advance.
struct File {
    path: &'static str,
    etag: &'static str,
    plain: &'static [u8],
    br: Option<&'static [u8]>,
    gz: Option<&'static [u8]>,
}

mod files {
    use super::File;
    include!(concat!(env!("OUT_DIR"), "/web.rs"));
}

const NO_UI: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>agentmux</title>\
    <p>agentmux is running. This build has no web interface: run <code>cargo xtask web</code> (needs Node), build again \
    and <code>agentmux server restart</code>. Until then there is <code>agentmux ls</code>.</p></html>\n";

pub(crate) async fn serve(request: Request) -> Response {
    answer(files::FILES, request.uri().path(), request.headers())
}

fn answer(files: &[File], path: &str, headers: &HeaderMap) -> Response {
    let name = if path == "/" { "/index.html" } else { path };
    let mut response = match files.iter().find(|file| file.path == name) {
        Some(file) => file.answer(headers),
        None if path == "/" && files.is_empty() => {
            ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], NO_UI).into_response()
        }
        None => return StatusCode::NOT_FOUND.into_response(),
    };
    let to = response.headers_mut();
    // Names of assets carry a hash of what is in them; everything else may be another with the next build.
    let keeping = if path.starts_with("/assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    to.insert(header::CACHE_CONTROL, HeaderValue::from_static(keeping));
    to.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    if let Some(policy) = headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(policy)
        && let Ok(policy) = HeaderValue::from_str(&policy)
    {
        to.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Nothing but our own files, and the stream of the server that the page came from. Some browsers do not take
/// `'self'` for a WebSocket. The host was compared with ours before it came here.
fn policy(host: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
         connect-src 'self' ws://{host} wss://{host}; manifest-src 'self'; worker-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    )
}

impl File {
    fn answer(&self, headers: &HeaderMap) -> Response {
        let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let mut known = known.flat_map(|tags| tags.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
        let tag = [(header::ETAG, self.etag), (header::VARY, "accept-encoding")];
        if known.any(|known| known == self.etag || known == "*") {
            return (StatusCode::NOT_MODIFIED, tag).into_response();
        }
        let kind = [(header::CONTENT_TYPE, kind(self.path))];
        match (self.br.filter(|_| takes(headers, "br")), self.gz.filter(|_| takes(headers, "gzip"))) {
            (Some(br), _) => (tag, kind, [(header::CONTENT_ENCODING, "br")], br).into_response(),
            (None, Some(gz)) => (tag, kind, [(header::CONTENT_ENCODING, "gzip")], gz).into_response(),
            (None, None) => (tag, kind, self.plain).into_response(),
        }
    }
}

/// Whether an encoding is named and not refused by `;q=0`.
fn takes(headers: &HeaderMap, encoding: &str) -> bool {
    let named = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|list| list.split(',')).any(|one| {
        let (name, weight) = one.split_once(';').unwrap_or((one, ""));
        let is_refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q == 0.0));
        name.trim().eq_ignore_ascii_case(encoding) && !is_refused
    })
}

fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("webp") => "image/webp",
        Some("woff2") => "font/woff2",
        Some("woff") => "font/woff",
        Some("wasm") => "application/wasm",
        Some("webmanifest") => "application/manifest+json",
        Some("json" | "map") => "application/json",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: &[File] = &[
        File { path: "/index.html", etag: "\"1\"", plain: b"page", br: Some(b"br"), gz: Some(b"gz") },
        File { path: "/assets/a.js", etag: "\"2\"", plain: b"code", br: None, gz: None },
        File { path: "/sw.js", etag: "\"3\"", plain: b"worker", br: None, gz: None },
    ];

    fn ask(path: &str, said: &[(&'static str, &'static str)]) -> (u16, HeaderMap) {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("127.0.0.1:7"));
        for (name, value) in said {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        let response = answer(FILES, path, &headers);
        (response.status().as_u16(), response.headers().clone())
    }

    #[test]
    fn a_page_may_load_nothing_but_ours_and_is_asked_for_again() {
        let (status, headers) = ask("/", &[]);
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert_eq!((status, &headers["cache-control"]), (200, &HeaderValue::from_static("no-cache")));
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
        assert!(policy.contains("connect-src 'self' ws://127.0.0.1:7 ") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(headers["cross-origin-opener-policy"], "same-origin");
        assert_eq!(ask("/assets/a.js", &[]).1["cache-control"], "public, max-age=31536000, immutable");
        assert_eq!(ask("/sw.js", &[]).1["cache-control"], "no-cache");
        assert_eq!(ask("/no.js", &[]).0, 404);
        assert_eq!(ask("/assets/../index.html", &[]).0, 404);
    }

    #[test]
    fn what_the_browser_has_is_not_sent_and_what_it_can_unpack_is_sent_packed() {
        let encoding = |said| ask("/", &[("accept-encoding", said)]).1.get("content-encoding").cloned();
        assert_eq!(encoding("gzip, br").unwrap(), "br");
        assert_eq!(encoding("gzip, br;q=0").unwrap(), "gzip");
        assert_eq!(encoding("identity"), None);
        assert_eq!(ask("/assets/a.js", &[("accept-encoding", "br")]).1.get("content-encoding"), None);
        assert_eq!(ask("/", &[("if-none-match", "\"0\", W/\"1\"")]).0, 304);
        assert_eq!(ask("/", &[("if-none-match", "\"2\"")]).0, 200);
    }

    #[test]
    fn without_an_interface_the_page_says_how_to_get_one() {
        let response = answer(&[], "/", &HeaderMap::new());
        assert_eq!(response.status(), 200);
        assert!(NO_UI.contains("cargo xtask web"));
    }
}
