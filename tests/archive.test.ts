import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Session } from '../packages/vm0/src/index.js'
import { command, objects } from './support/command.js'
import { TestPlatform } from './support/platform.js'
import { workScript } from './support/scripts.js'

const run = promisify(execFile)

let here: TestPlatform
let there: TestPlatform
let folder: string
let session: Session
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vm0-archive-'))
  const args = { args: ['--warm', '0'] }
  here = await TestPlatform.start([workScript], {}, args)
  there = await TestPlatform.start([workScript], {}, args)
  session = await here.client.sessions.create({ labels: { team: 'web' }, resources: { memoryMiB: 1024 } })
  await session.run('append a line')
  const made = await session.exec(
    'set -e; apt-get update -qq; apt-get install -y -qq cowsay >/dev/null; rm /etc/motd; echo own > /root/own; truncate -s 1G sparse',
  )
  expect(made.exitCode).toBe(0)
})
afterAll(async () => {
  await here?.stop()
  await there?.stop()
  await rm(folder, { recursive: true, force: true })
})

/** What a session that came in has to have. */
async function expectWhole(copy: Session, on: TestPlatform): Promise<void> {
  expect(await copy.get()).toMatchObject({ labels: { team: 'web' }, resources: { memoryMiB: 1024 }, state: 'idle' })
  const before = on.model.requests.length
  await copy.run('append a line')
  const asked = JSON.stringify(on.model.requests.slice(before).map(({ messages }) => messages))
  expect(asked.match(/append a line/g)?.length).toBeGreaterThanOrEqual(2)
  expect(await copy.files.readText('/workspace/lines.txt')).toBe('line\nline\n')
  const found = await copy.exec('dpkg -s cowsay | grep Status; cat /root/own; ls /etc/motd; stat -c %s sparse')
  expect(found.stdout).toBe('Status: install ok installed\nown\n1073741824\n')
}

test('a session goes to another VM0 in one file, which skopeo reads, with conversation, files and packages', async () => {
  const file = join(folder, 'session.tar')
  const out = await command(here, ['export', session.id, '-o', file, '--json'])
  expect(out.status).toBe(0)
  expect(objects(out)[0]).toEqual({ id: session.id, file, bytes: (await stat(file)).size })

  const { stdout } = await run('skopeo', ['inspect', `oci-archive:${file}`])
  const inspected = JSON.parse(stdout) as { Os: string; Layers: string[]; Env: string[] }
  expect(inspected.Os).toBe('linux')
  expect(inspected.Layers.length).toBeGreaterThan(1)
  // Every blob is read and compared, as a registry or podman would.
  await run('skopeo', ['copy', '--insecure-policy', `oci-archive:${file}`, `dir:${join(folder, 'copied')}`])
  const top = inspected.Layers.at(-1)!.slice(7)
  const names = await run('sh', ['-c', 'zstd -d -q -c "$1" | tar -t', 'sh', join(folder, 'copied', top)])
  expect(names.stdout).toContain('root/own\n')
  expect(names.stdout).toContain('etc/.wh.motd\n')

  const into = await command(there, ['import', file, '--json'])
  expect(into).toMatchObject({ status: 0, stderr: '' })
  expect(objects(into)[0]).toEqual({ id: session.id })
  await expectWhole(there.client.sessions.get(session.id), there)
  expect((await there.client.store.fsck({ deep: true })).problems).toEqual([])
  // Where it is there already, it becomes another session.
  const again = await command(there, ['import', file])
  expect(again.stdout).toMatch(/^✓ session [0-9a-f-]{36}\n/)
  expect(again.stdout).not.toContain(session.id)
})

test('where the template is not known it comes along, made anew, and the session works on it', async () => {
  const file = join(folder, 'unknown.tar')
  const layout = join(folder, 'layout')
  await run('sh', ['-c', 'mkdir "$2" && tar -xf "$1" -C "$2"', 'sh', join(folder, 'session.tar'), layout])
  await withManifest(layout, (text) => {
    const manifest = JSON.parse(text) as { annotations: Record<string, string> }
    const about = JSON.parse(manifest.annotations['dev.vm0.session'] as string) as object
    const other = { ...about, template: `sha256:${'a'.repeat(64)}`, id: '0190a000-0000-7000-8000-00000000000a' }
    manifest.annotations['dev.vm0.session'] = JSON.stringify(other)
    return JSON.stringify(manifest)
  })
  await run('tar', ['-cf', file, '-C', layout, 'oci-layout', 'index.json', 'blobs'])
  const copy = await there.client.sessions.import(await readFile(file))
  const { template } = await copy.get()
  const image = join(
    process.env.XDG_CACHE_HOME || join(process.env.HOME!, '.cache'),
    'vm0/templates',
    `${template.slice(7)}.erofs`,
  )
  try {
    expect(template).not.toBe((await session.get()).template)
    await expectWhole(copy, there)
  } finally {
    await copy.delete()
    await rm(image, { force: true })
  }
})

/** Changes the image's manifest of a layout, and the digests that name it. */
async function withManifest(layout: string, change: (text: string) => string): Promise<void> {
  const indexFile = join(layout, 'index.json')
  const index = JSON.parse(await readFile(indexFile, 'utf8')) as { manifests: { digest: string; size: number }[] }
  const [descriptor] = index.manifests as [{ digest: string; size: number }]
  const at = (digest: string): string => join(layout, 'blobs/sha256', digest.slice(7))
  const text = change(await readFile(at(descriptor.digest), 'utf8'))
  const digest = `sha256:${createHash('sha256').update(text).digest('hex')}`
  await rename(at(descriptor.digest), at(digest))
  await writeFile(at(digest), text)
  Object.assign(descriptor, { digest, size: Buffer.byteLength(text) })
  await writeFile(indexFile, JSON.stringify(index))
}

test('a damaged file, one of a later version and a session at work are refused', async () => {
  const whole = await readFile(join(folder, 'session.tar'))
  const damaged = join(folder, 'damaged.tar')
  whole[whole.length >> 1] = (whole[whole.length >> 1] as number) ^ 1
  await writeFile(damaged, whole)
  const refused = await command(there, ['import', damaged])
  expect(refused).toMatchObject({ status: 2, stderr: expect.stringContaining('ARCHIVE_CORRUPT') })

  const layout = join(folder, 'layout')
  await writeFile(join(layout, 'oci-layout'), '{"imageLayoutVersion":"2.0.0"}')
  const later = join(folder, 'later.tar')
  await run('tar', ['-cf', later, '-C', layout, 'oci-layout', 'index.json', 'blobs'])
  const response = await there.fetch('/v1/sessions/import', {
    method: 'POST',
    headers: { 'content-type': 'application/x-tar' },
    body: await readFile(later),
  })
  expect(response.status).toBe(400)
  expect(await response.json()).toMatchObject({ code: 'VERSION_UNSUPPORTED' })

  const nothing = await here.client.sessions.create()
  await expect(nothing.export()).rejects.toMatchObject({ code: 'CHECKPOINT_NOT_FOUND' })
  const hanging = here.client.run({ prompt: 'hang' })
  for await (const event of hanging) if (event.type === 'sandbox.ready') break
  const busy = await command(here, ['export', hanging.session.id, '-o', join(folder, 'busy.tar')])
  expect(busy).toMatchObject({ status: 2, stderr: expect.stringContaining('SESSION_BUSY') })
  await expect(stat(join(folder, 'busy.tar.part'))).rejects.toThrow()
  await hanging.cancel()
  const { key } = await here.project('other')
  expect((await here.fetch(`/v1/sessions/${session.id}/export`, { key })).status).toBe(404)
})
