//! What happened to the machine and the server on it.

events! {
    "host.booted" "HostBooted" Booted { hostname: String, boot_id: String, version: String }
}
