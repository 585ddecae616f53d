import { readFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { MonitoredProcess, Sandbox, SandboxEngine } from '../engine.js'
import { openOciEngine } from '../index.js'
import { gatewayPort, listenAt, sh, TestEngine } from './engine.test.fixture.js'

// The engine is opened again while the first one is still there: all that it finds, it finds on the host. That it is
// found from another mount namespace too, with the first process killed, is in tests/adoption.test.ts.

let host: TestEngine
let again: SandboxEngine | undefined

beforeAll(async () => {
  host = await TestEngine.open()
}, 900_000)
afterAll(async () => {
  await again?.close()
  await host?.close()
})

const resources = { memoryMiB: 512, cpus: 1, diskMiB: 128, processes: 64 }

function create(id: string): Promise<Sandbox> {
  return host.engine.create({ id, templateImage: host.templateImage, layers: [], resources, platformMounts: [] })
}

function reopen(adopt: (id: string) => boolean): Promise<SandboxEngine> {
  return openOciEngine({ installation: host.installation, dataDir: host.directory, gatewayPort, adopt })
}

async function linesOf(process: MonitoredProcess, last: string): Promise<string[]> {
  const lines: string[] = []
  for await (const { text } of process.output()) {
    lines.push(text)
    if (text === last) break
  }
  return lines
}

test('a living sandbox is had again: its process, its stdin, its output from the first line, its files, its network', async () => {
  const before = await create('kept1')
  await create('unwanted')
  // A record is there before anything that is started in a sandbox.
  await sh(await create('unknown'), 'true')
  const unknown = join(host.directory, 'sandboxes/unknown/sandbox.json')
  await writeFile(unknown, (await readFile(unknown, 'utf8')).replace('"v":1', '"v":2'))
  const spec = { id: 'echo', args: ['sh', '-c', 'echo begun; while read x; do echo "got $x"; done; exit 7'], env: {} }
  const process = await before.spawn({ ...spec, cwd: '/', maxOutputBytes: 1_000_000 })
  await process.write('one')
  await linesOf(process, 'got one')
  await sh(before, 'echo text > /workspace/file')
  await before.freeze()

  again = await reopen((id) => id !== 'unwanted')
  expect(again.adopted.map(({ id }) => id)).toEqual(['kept1'])
  expect(await readdir(join(host.directory, 'sandboxes'))).toEqual(['kept1'])
  const [sandbox] = again.adopted as [Sandbox]
  expect(sandbox.address).toBe(before.address)
  expect(await sandbox.alive()).toBe(true)
  const adopted = (await sandbox.attach('echo')) as MonitoredProcess
  expect(adopted.isRunning()).toBe(true)
  await adopted.write('two')
  expect(await linesOf(adopted, 'got two')).toEqual(['begun', 'got one', 'got two'])
  expect(await sandbox.attach('another')).toBeUndefined()

  expect((await sh(sandbox, 'cat /workspace/file; echo more >> /workspace/file')).out).toBe('text\n')
  await sandbox.withUpperView(async (upper) => {
    expect(await readFile(join(upper, 'workspace/file'), 'utf8')).toBe('text\nmore\n')
  })
  expect((await sandbox.stats()).diskTotalBytes).toBeGreaterThan(0)
  // Its gateway is where the engine has it now, which may be another address.
  const moved = again.gatewayAddress !== host.engine.gatewayAddress
  const gateway = moved ? await listenAt(again.gatewayAddress) : undefined
  const { out } = await sh(sandbox, 'curl -sS --max-time 5 http://169.254.77.1/ 2>&1; true')
  gateway?.close()
  expect(out).toBe(`gateway sees ${sandbox.address}`)

  await adopted.kill()
  expect(await adopted.exited).toEqual({ exitCode: 137, reason: 'exit' })
  await sandbox.close()
  expect(await readdir(join(host.directory, 'sandboxes'))).toEqual([])
  expect(await readdir(`/run/vm0/${host.installation}/crun`)).toEqual([])
})

test('one whose first process has ended is not had again', async () => {
  await again?.close()
  again = await reopen(() => true)
  const sandbox = await again.create({
    id: 'ended',
    templateImage: host.templateImage,
    layers: [],
    resources,
    platformMounts: [],
  })
  await sh(sandbox, 'true')
  const { init } = JSON.parse(await readFile(join(sandbox.records, 'sandbox.json'), 'utf8')) as {
    init: { pid: number }
  }
  process.kill(init.pid, 'SIGKILL')
  await expect.poll(() => sandbox.alive()).toBe(false)
  again = await reopen(() => true)
  expect(again.adopted).toEqual([])
})
