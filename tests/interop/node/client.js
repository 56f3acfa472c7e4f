// A client for the interop matrix, of the npm package zeromq. The commands are described in
// docs/interop.md.
"use strict"

const fs = require("node:fs")
const readline = require("node:readline")
// Beside what is installed, not beside this file.
const home = process.env.INTEROP_NODE_MODULES
const zmq = require(`${home}/zeromq`)
const packageVersion = require(`${home}/zeromq/package.json`).version

const types = {REQ: zmq.Request, DEALER: zmq.Dealer, SUB: zmq.Subscriber}
const sockets = {}

// The library reads no files with keys.
function keyOf(file, field) {
  const found = fs.readFileSync(file, "utf8").match(new RegExp(`^ *${field} *= *"(.*)"$`, "m"))
  if (!found) throw new Error(`no ${field} in ${file}`)
  return found[1]
}

function open(kind, endpoint, options) {
  const settings = {linger: 0}
  for (const option of options) {
    const [key, value] = option.split(/=(.*)/)
    if (key === "heartbeat") {
      settings.heartbeatInterval = Number(value)
      settings.heartbeatTimeToLive = 10 * Number(value)
      settings.heartbeatTimeout = 10 * Number(value)
    } else if (key === "correlate") {
      settings.correlate = true
      settings.relaxed = true
    } else if (key === "identity") {
      settings.routingId = value
    } else if (key === "curve") {
      const [own, server] = value.split(",")
      settings.curvePublicKey = keyOf(own, "public-key")
      settings.curveSecretKey = keyOf(own, "secret-key")
      settings.curveServerKey = keyOf(server, "public-key")
    } else {
      throw new Error(`unknown option ${key}`)
    }
  }
  const socket = new types[kind](settings)
  socket.connect(endpoint)
  return socket
}

async function receive(socket, timeoutMs, directory) {
  const deadline = Date.now() + Number(timeoutMs)
  let parts
  while (!parts) {
    socket.receiveTimeout = Math.max(0, deadline - Date.now())
    try {
      parts = await socket.receive()
    } catch (error) {
      if (error.code !== "EAGAIN") throw error
      // Also said before its time: a reply to a request that was given up makes the socket readable, and
      // reading discards it.
      if (Date.now() >= deadline) return 0
    }
  }
  parts.forEach((part, number) => fs.writeFileSync(`${directory}/${number}`, part))
  return parts.length
}

async function run(command, words) {
  const [name, ...rest] = words
  switch (command) {
    case "version":
      return {detail: `zeromq ${packageVersion}, libzmq ${zmq.version}, node ${process.version}`}
    case "open":
      sockets[name] = open(rest[0], rest[1], rest.slice(2))
      return {}
    case "subscribe":
      sockets[name].subscribe(rest[0])
      return {}
    case "unsubscribe":
      sockets[name].unsubscribe(rest[0])
      return {}
    case "send":
      await sockets[name].send(rest.map((path) => fs.readFileSync(path)))
      return {}
    case "receive":
      return {frames: await receive(sockets[name], rest[0], rest[1])}
    case "close":
      sockets[name].close()
      delete sockets[name]
      return {}
    default:
      throw new Error(`unknown command ${command}`)
  }
}

async function main() {
  for await (const line of readline.createInterface({input: process.stdin})) {
    const [step, ...words] = line.split(" ")
    let answer
    try {
      answer = {step, ok: true, ...(await run(step, words))}
    } catch (error) {
      answer = {step, ok: false, detail: String(error)}
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`)
  }
  process.exit(0)
}

main()
