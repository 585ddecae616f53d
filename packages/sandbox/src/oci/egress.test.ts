import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { python, TestEngine } from './engine.test.fixture.js'

const exec = promisify(execFile)
/** A network of the test's own, which sandboxes take for the internet. */
const space = `vm0-world-${process.pid}`
const [outside, inside] = [`w${process.pid}`, `x${process.pid}`]
const nameServer = '93.184.216.53'
const web = '93.184.216.34'

/** Answers every question for an address with that of the web server, which sends `size` bytes. */
const world = `
  const { createSocket } = require('node:dgram')
  const answer = Buffer.from('c00c00010001000000000004' + '${web}'.split('.').map((part) => Number(part).toString(16).padStart(2, '0')).join(''), 'hex')
  const server = createSocket('udp4')
  server.on('message', (question, { port, address }) => {
    const reply = Buffer.concat([question, answer])
    reply.writeUInt16BE(0x8180, 2)
    reply.writeUInt16BE(1, 6)
    server.send(reply, port, address)
  })
  require('node:http').createServer((_request, response) => response.end('x'.repeat(50_000))).listen(80, '${web}', () =>
    server.bind(53, '${nameServer}', () => console.log('ready')))
`

let host: TestEngine
let servers: ChildProcess
beforeAll(async () => {
  host = await TestEngine.open()
  await exec('ip', ['netns', 'add', space])
  await exec('ip', ['link', 'add', outside, 'type', 'veth', 'peer', 'name', inside, 'netns', space])
  await exec('ip', ['addr', 'add', '93.184.216.1/24', 'dev', outside])
  await exec('ip', ['link', 'set', outside, 'up'])
  for (const address of [nameServer, web])
    await exec('ip', ['-n', space, 'addr', 'add', `${address}/24`, 'dev', inside])
  for (const link of ['lo', inside]) await exec('ip', ['-n', space, 'link', 'set', link, 'up'])
  servers = spawn('ip', ['netns', 'exec', space, process.execPath, '-e', world], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(servers.stdout as NodeJS.ReadableStream, 'data')
  await exec('nft', ['add', 'element', 'inet', `vm0_${host.installation}`, 'resolvers', `{ ${nameServer} }`])
}, 900_000)
afterAll(async () => {
  servers?.kill()
  await exec('ip', ['netns', 'delete', space]).catch(() => undefined)
  await exec('ip', ['link', 'delete', outside]).catch(() => undefined)
  await host?.close()
})

test('what a sandbox exchanges with a host on the internet is told by the name that it had asked for', async () => {
  const ask = (name: string): string => `
import socket, urllib.request
def ask(name):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(10)
    labels = b''.join(bytes([len(l)]) + l.encode() for l in name.split('.'))
    s.sendto(b'\\0\\7\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0' + labels + b'\\0\\0\\1\\0\\1', ('${nameServer}', 53))
    return s.recv(512)
ask('${name}')
print(len(urllib.request.urlopen('http://${web}/').read()))`
  const toldOf = async (name: string) =>
    (await host.engine.egress()).destinations.find(({ destination }) => destination === name)
  await host.withSandbox(async (one) => {
    expect((await python(one, ask('Files.Example.org'))).out.trim()).toBe('50000')
    const told = await toldOf('files.example.org')
    expect(told?.receivedBytes).toBeGreaterThan(50_000)
    expect(told?.sentBytes).toBeGreaterThan(100)
    await host.withSandbox(async (two) => {
      // Who hasn't asked has no name for it, and who asks for another one names it for itself alone.
      const before = await toldOf('internet')
      const direct = `import urllib.request; print(len(urllib.request.urlopen('http://${web}/').read()))`
      expect((await python(two, direct)).out.trim()).toBe('50000')
      expect((await toldOf('internet'))!.receivedBytes - before!.receivedBytes).toBeGreaterThan(50_000)
      expect(await toldOf('files.example.org')).toEqual(told)
      await python(two, ask('other.example.net'))
      expect((await toldOf('other.example.net'))!.receivedBytes).toBeGreaterThan(50_000)
      expect(await toldOf('files.example.org')).toEqual(told)
    })
  })
})
