//! `fake-model [--port N]`: the fake of the model vendors for a person at a terminal. Prints its address, serves until
//! killed, and says a line to stderr for each request.

use std::process::ExitCode;

use amux_testkit::model::Model;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let port = match args.as_slice() {
        [] => Some(0),
        [name, port] if name == "--port" => port.parse().ok(),
        _ => None,
    };
    let Some(port) = port else {
        eprintln!("usage: fake-model [--port N]");
        return ExitCode::from(2);
    };
    match Model::on(port, None) {
        Ok(model) => {
            println!("{}", model.url());
            model.watch(|request| eprintln!("{request}"))
        }
        Err(error) => {
            eprintln!("cannot listen on port {port}: {error}");
            ExitCode::FAILURE
        }
    }
}
