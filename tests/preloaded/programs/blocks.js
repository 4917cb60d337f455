// The loop of libuv, held by work: /burn/MS.
const http = require("http");
http.createServer((request, response) => {
  const [, what, ms] = request.url.split("/");
  const end = Date.now() + (what === "burn" ? Number(ms) : 0);
  while (Date.now() < end);
  response.setHeader("Content-Length", 4);
  response.end("done");
}).listen(Number(process.argv[2]), "127.0.0.1");
