import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { access, cp, mkdir, mkdtemp, readdir, rm, stat, symlink } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { leftovers } from './support/leftovers.js'
import { Vm0Up } from './support/vm0-up.js'

const exec = promisify(execFile)
let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vm0-start-'))
})
afterEach(async () => {
  await Vm0Up.endAll()
  await rm(directory, { recursive: true, force: true })
})

/** A folder that holds all commands of this machine but these. */
async function pathWithout(...names: string[]): Promise<string> {
  const folder = join(directory, 'bin')
  await mkdir(folder)
  for (const place of (process.env.PATH ?? '').split(delimiter).toReversed())
    for (const name of await readdir(place).catch(() => []))
      if (!names.includes(name)) await symlink(join(place, name), join(folder, name)).catch(() => undefined)
  return folder
}

test('without root it says so, and how to mend it', async () => {
  const prefix = ['unshare', '--user', '--map-user=1000', '--map-group=1000']
  const { status, words } = await Vm0Up.failing({ directory, prefix })
  expect(status).toBe(1)
  expect(words).toMatch(/ROOT_REQUIRED[^]*as root/)
  await expect(access(join(directory, 'data'))).rejects.toThrow()
})

test.each([
  ['crun', 'crun'],
  ['svlogd', 'runit'],
])('without %s it names the package, and leaves nothing', async (command, packageName) => {
  const { status, words } = await Vm0Up.failing({ directory, env: { PATH: await pathWithout(command) } })
  expect(status).toBe(1)
  expect(words).toMatch(new RegExp(`RUNTIME_MISSING: .*\\b${command}\\b.*\\b${packageName}\\b[^]*Install`))
  expect(await leftovers(directory)).toEqual([])
})

test('on a port that is taken it says so, and leaves nothing', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  try {
    const { port } = other.address() as AddressInfo
    const { status, words } = await Vm0Up.failing({ directory, port })
    expect(status).toBe(1)
    expect(words).toMatch(new RegExp(`PORT_TAKEN: port ${port}[^]*--port`))
    expect(await leftovers(directory)).toEqual([])
  } finally {
    other.close()
  }
})

test('in a data folder that is a file, or that cannot be written, it says which', async () => {
  await cp('/etc/hostname', join(directory, 'data'))
  const { status, words } = await Vm0Up.failing({ directory })
  expect(status).not.toBe(0)
  expect(words).toContain(join(directory, 'data'))
})

test('SIGTERM in the middle of the template build ends it at once and leaves nothing of it', async () => {
  const env = { XDG_CACHE_HOME: join(directory, 'cache') }
  const up = Vm0Up.start({ directory, env })
  expect(await up.says(/^downloading|^extracting|^installing/)).toBe(true)
  const building = async (): Promise<string> => (await exec('ps', ['-eo', 'args'])).stdout
  expect(await building()).toContain(`${directory}/cache`)
  expect(await up.signal('SIGTERM')).toBe(143)
  expect(up.words).toContain('stopped before it was ready')
  expect(await building()).not.toContain(`${directory}/cache`)
  expect((await readdir(join(directory, 'cache/vm0/templates'))).filter((name) => name !== '.lock')).toEqual([])
  expect(await leftovers(directory)).toEqual([])
})

test('SIGINT while it waits for another build, and while it opens its parts, leaves nothing', async () => {
  const templates = join(directory, 'cache/vm0/templates')
  await mkdir(templates, { recursive: true })
  const holder = spawn('flock', [join(templates, '.lock'), 'sh', '-c', 'echo held; exec sleep 1000'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  await once(holder.stdout, 'data')
  const waiting = Vm0Up.start({ directory, env: { XDG_CACHE_HOME: join(directory, 'cache') } })
  expect(await waiting.says(/waiting for another build/)).toBe(true)
  expect(await waiting.signal('SIGINT')).toBe(130)
  holder.kill()
  expect(await leftovers(directory)).toEqual([])
  // With a template, at whatever it is about: every 40 ms of a start of about a second.
  for (let round = 0; round < 12; round++) {
    const up = Vm0Up.start({ directory })
    const installation = join(directory, 'data/installation')
    while (!(await stat(installation).catch(() => undefined))) await new Promise((resolve) => setTimeout(resolve, 5))
    await new Promise((resolve) => setTimeout(resolve, round * 40))
    expect([0, 130]).toContain(await up.signal('SIGINT'))
    expect([round, await leftovers(directory)]).toEqual([round, []])
  }
})
