#pragma once

namespace fachwerk::cli {

/// SIGINT and SIGTERM end the run at once (130, temporaries removed), or, `with_checkpoint`, set `stop_requested` the
/// first time; then SIGUSR1, which Slurm sends before a time limit, does so too. SIGPIPE is ignored.
void install_signal_handlers(bool with_checkpoint);

}  // namespace fachwerk::cli
