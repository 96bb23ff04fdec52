//! The machine the server runs on. Only the server says these.

commands! {
    "host.boot" "HostBoot" Boot { hostname: String, boot_id: String, version: String }
}
