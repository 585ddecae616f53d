import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { RunView } from '@vm0/contract'
import type { Run, Session } from '../packages/vm0/src/index.js'
import { TestPlatform } from './support/platform.js'
import { SmallDisk } from './support/small-disk.js'

const bash = (command: string) => ({ tools: [{ name: 'Bash', input: { command, description: 'x' } }] })
const write =
  'rm -f go; yes | head -c 600M > big; sync; echo big >> log; touch written; while ! test -e go; do sleep 0.05; done'
const script = {
  name: 'host-disk',
  conversations: [
    { when: '^work', steps: [bash('echo done >> /workspace/log'), { text: 'worked' }] },
    { when: '^write', steps: [bash(`cd /workspace; ${write}`), { text: 'wrote' }] },
  ],
}

let disk: SmallDisk
let platform: TestPlatform
beforeAll(async () => {
  disk = await SmallDisk.make(4096)
  const { TMPDIR } = process.env
  process.env.TMPDIR = disk.path // where the platform's folders are made
  platform = await TestPlatform.start([script])
  if (TMPDIR === undefined) delete process.env.TMPDIR
  else process.env.TMPDIR = TMPDIR
})
afterEach(() => disk.clear())
afterAll(async () => {
  await platform?.stop()
  await disk?.remove()
})

/** As the run's row tells it: events have no room on a full disk either. */
async function endOf(run: Run): Promise<RunView> {
  let view = await run.get()
  await expect.poll(async () => (view = await run.get()).endedAt, { timeout: 30_000 }).not.toBeNull()
  return view
}

/** The last event of a run comes a moment before its session is free. */
async function close(session: Session): Promise<void> {
  const closed = () =>
    session.close().then(
      () => 'closed',
      (error: { code: string }) => error.code,
    )
  await expect.poll(closed).toBe('closed')
}

async function written(session: Session): Promise<void> {
  await expect.poll(() => session.exec('test -e written').then(({ exitCode }) => exitCode), { timeout: 30_000 }).toBe(0)
}

async function stillWell(session: Session, head: string | null): Promise<void> {
  expect((await session.get()).head).toBe(head)
  expect((await platform.fetch('/readyz')).status).toBe(200)
}

test('no sandbox starts when the disk of the data folder has little room; once it has, it does', async () => {
  const session = await platform.client.sessions.create()
  await session.run('work')
  await close(session)
  const { head } = await session.get()
  await disk.leave(600)
  const { state, reason, error } = await endOf(session.run('work'))
  expect([state, reason, error?.code]).toEqual(['died', 'host_disk_full', 'HOST_DISK_FULL'])
  expect(error?.message).toMatch(/has \d+ MiB free; expected at least 1024/)
  expect(error?.hint).toContain('Free space')
  await expect(session.exec('true')).rejects.toMatchObject({ code: 'HOST_DISK_FULL' })
  await stillWell(session, head)
  await disk.clear()
  expect((await session.run('work')).outcome).toBe('succeeded')
  expect(await session.files.readText('/workspace/log')).toBe('done\ndone\n')
  await session.delete()
})

test('a disk that fills up in the middle of a save fails the run, keeps what was saved and what is in the sandbox', async () => {
  const session = await platform.client.sessions.create()
  await session.run('work')
  const { head } = await session.get()
  const run = session.run('write')
  await written(session)
  await disk.leave(550) // the layer needs more
  await session.exec('touch go')
  const { state, error } = await endOf(run)
  expect([state, error?.code]).toEqual(['failed', 'CHECKPOINT_FAILED'])
  expect(error?.hint).toContain('disk space')
  await stillWell(session, head)
  expect(await session.files.readText('/workspace/log')).toBe('done\nbig\n')
  await disk.clear()
  expect((await session.run('work')).outcome).toBe('succeeded')
  expect((await session.get()).head).not.toBe(head)
  await close(session)
  expect((await session.exec('cat log; stat -c %s big')).stdout).toBe('done\nbig\ndone\n629145600\n')
  await session.delete()
})

test('a sandbox that fills the disk is ended before the disk is full; its session is as it was before, others go on', async () => {
  const session = await platform.client.sessions.create()
  const other = await platform.client.sessions.create()
  await session.run('work')
  await other.run('work')
  const { head } = await session.get()
  await disk.leave(900)
  const { state, reason, error } = await endOf(session.run('write'))
  expect([state, reason, error?.code]).toEqual(['died', 'host_disk_full', 'HOST_DISK_FULL'])
  expect(error?.message).toContain('was filling it')
  await stillWell(session, head)
  expect((await other.run('work')).outcome).toBe('succeeded')
  await disk.clear()
  expect((await session.run('work')).outcome).toBe('succeeded')
  expect((await session.exec('cat log; ls big')).stdout).toBe('done\ndone\n')
  await session.delete()
})
