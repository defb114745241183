// Loaded into NNI's manager before its own code (NODE_OPTIONS=--require). NNI 3.0 has no option for any of it.
'use strict';
if (/main\.js$/.test(process.argv[1] || '')) {
  // FAULT: the web view, which asks nobody for a password, listens on all of the machine's addresses.
  const net = require('net');
  const listen = net.Server.prototype.listen;
  net.Server.prototype.listen = function (...given) {
    const port = /^\d+$/.test(String(given[0]));
    if (port && typeof given[1] !== 'string') given.splice(1, 0, '127.0.0.1');
    return listen.apply(this, given);
  };

  // FAULT: a list of all experiments is kept in the home directory, wherever the experiment's own files are.
  const home = process.env.SE_NAS_NNI_HOME;
  if (home) require('os').homedir = () => home;

  // FAULT: when the search is killed, the manager and its trials go on. They are one group of processes: end it.
  const search = process.ppid;
  setInterval(() => {
    if (process.ppid !== search) process.kill(-process.pid, 'SIGKILL');
  }, 500).unref();
}
