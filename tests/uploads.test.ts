import { createHash } from 'node:crypto'
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Resources, RunView, SessionView } from '@vm0/contract'
import type { Run, Session } from '../packages/vm0/src/index.js'
import { TestPlatform } from './support/platform.js'

const exec = promisify(execFile)
let platform: TestPlatform
beforeAll(async () => {
  platform = await TestPlatform.start([
    { name: 'uploads', conversations: [{ when: 'work', steps: [{ text: 'worked' }] }] },
  ])
})
afterAll(() => platform?.stop())

interface Entry {
  name: string
  /** As in the format: `0` file, `1` hard link, `2` symbolic link, `3` and `4` devices, `5` folder, `6` pipe. */
  type?: string
  link?: string
  content?: string
  mode?: number
}

/** An archive as it comes over the wire, with whatever names: no library would write these. */
function tar(entries: readonly Entry[]): Buffer {
  const blocks = entries.flatMap(({ name, type = '0', link = '', content = '', mode = 0o644 }) => {
    const header = Buffer.alloc(512)
    header.write(name, 0, 100, 'latin1')
    header.write(`${mode.toString(8).padStart(7, '0')}\0${'0'.repeat(7)}\0${'0'.repeat(7)}\0`, 100)
    header.write(`${Buffer.byteLength(content).toString(8).padStart(11, '0')}\0${'0'.repeat(11)}\0        ${type}`, 124)
    header.write(link, 157, 100, 'latin1')
    header.write('ustar\u000000', 257)
    header.write(`0000010\0${'0000000\0'}`, 329) // of a device
    const sum = header.reduce((total, byte) => total + byte, 0)
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
    return [header, Buffer.concat([Buffer.from(content)], Math.ceil(Buffer.byteLength(content) / 512) * 512)]
  })
  return Buffer.concat([...blocks, Buffer.alloc(1024)])
}

async function upload(archive: Buffer): Promise<string> {
  const digest = `sha256:${createHash('sha256').update(archive).digest('hex')}`
  const headers = { 'content-type': 'application/octet-stream' }
  const response = await platform.fetch(`/v1/uploads/${digest}`, {
    method: 'PUT',
    body: new Uint8Array(archive),
    headers,
  })
  expect(response.status).toBe(204)
  return digest
}

async function sessionWith(archive: Buffer, resources?: Resources): Promise<Session> {
  const body = JSON.stringify({ workspaceUpload: await upload(archive), resources })
  const response = await platform.fetch('/v1/sessions', { method: 'POST', body })
  const { id } = (await response.json()) as SessionView
  return platform.client.sessions.get(id)
}

async function ended(run: Run): Promise<RunView> {
  for await (const _ of run.events()) void _
  return run.get()
}

const good: Entry = { name: 'good', content: 'good' }

test.each<[string, Entry[]]>([
  ['climbs out', [good, { name: '../../../../../../../../../../tmp/vm0-escaped', content: 'x' }]],
  ['has a disk in it', [good, { name: 'disk', type: '4' }]],
  ['has a character device in it', [good, { name: 'null', type: '3' }]],
  ['links to what is outside', [good, { name: 'shadow', type: '1', link: '../../../../etc/shadow' }]],
  [
    'writes through a link that it made',
    [good, { name: 'out', type: '2', link: '/etc' }, { name: 'out/vm0-escaped', content: 'x' }],
  ],
  ['writes through a file', [good, { name: 'good/below', content: 'x' }]],
  ['is no archive', []],
])('an upload that %s is refused with a code; nothing of it is outside of /workspace', async (name, entries) => {
  const archive = name === 'is no archive' ? Buffer.from('this is no archive at all'.repeat(100)) : tar(entries)
  const session = await sessionWith(archive)
  const run = await ended(session.run('work'))
  expect([run.state, run.error?.code]).toEqual(['failed', 'WORKSPACE_INVALID'])
  expect(run.error?.hint.length).toBeGreaterThan(20)
  await expect(readFile('/tmp/vm0-escaped')).rejects.toThrow()
})

test('absolute names, setuid bits, pipes and odd names stay in /workspace and in the sandbox', async () => {
  const session = await sessionWith(
    tar([
      { name: '/tmp/vm0-escaped', content: 'absolute' },
      { name: 'shell', content: '#!/bin/sh', mode: 0o6755 },
      { name: 'pipe', type: '6' },
      { name: 'line\nbreak', content: 'x' },
      { name: '-rf', content: 'x' },
      { name: 'link', type: '2', link: '/etc/shadow' },
    ]),
  )
  expect((await session.run('work')).outcome).toBe('succeeded')
  const { stdout } = await session.exec(
    'cat tmp/vm0-escaped; test -e /tmp/vm0-escaped || echo " inside"; stat -c "%a %U" shell; test -p pipe && ls -a | wc -l',
  )
  expect(stdout).toBe('absolute inside\n6755 root\n9\n')
  await expect(readFile('/tmp/vm0-escaped')).rejects.toThrow()
  await session.delete()
})

test('a file of holes, larger than the disk of the session, takes what it holds', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'vm0-sparse-'))
  try {
    await exec('truncate', ['-s', '1G', join(folder, 'sparse')])
    await exec('tar', ['--sparse', '-cf', join(folder, 'archive'), '-C', folder, 'sparse'])
    const session = await sessionWith(await readFile(join(folder, 'archive')), { diskMiB: 128 })
    expect((await session.run('work')).outcome).toBe('succeeded')
    expect((await session.exec('stat -c %s sparse; du -m sparse | cut -f1')).stdout).toBe('1073741824\n0\n')
    await session.delete()
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

/** Headers of empty files, made by changing one: there are many. */
function manyFiles(count: number): Buffer {
  const archive = Buffer.alloc((count + 2) * 512)
  const first = tar([{ name: '0000000' }]).subarray(0, 512)
  for (let index = 0; index < count; index++) {
    const header = Buffer.from(first)
    const digits = String(index).padStart(7, '0')
    header.write(digits, 0)
    let sum = 0
    header.fill(' ', 148, 156)
    for (const byte of header) sum += byte
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
    header.copy(archive, index * 512)
  }
  return archive
}

test('a hundred thousand empty files end at the room of the session, and a cancel ends their unpacking', async () => {
  const archive = manyFiles(100_000)
  const small = await sessionWith(archive, { diskMiB: 128 })
  const full = await ended(small.run('work'))
  expect([full.state, full.error?.code]).toEqual(['failed', 'SANDBOX_DISK_FULL'])
  const session = await sessionWith(archive)
  const run = session.run('work')
  await expect.poll(() => run.get().then(({ state }) => state)).toBe('starting')
  await run.cancel()
  expect((await ended(run)).state).toBe('cancelled')
  await session.delete()
  await small.delete()
})
