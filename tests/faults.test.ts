import { watch } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { compareCursors, type Vm0Event } from '@vm0/contract'
import { startPostgres, type PostgresServer } from '@vm0/testkit'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { Run } from '../packages/vm0/src/index.js'
import { TestPlatform } from './support/platform.js'
import { S3Server } from './support/s3-server.js'
import { workScript } from './support/scripts.js'

/** The long form has a minute, and a hundred. */
const outageMs = Number(process.env.VM0_OUTAGE_SECONDS || 2) * 1000
const idleWrites = Number(process.env.VM0_IDLE_WRITES || 5)
const cycles = Number(process.env.VM0_CYCLES || 4)
const idleMs = 1_000

let store: S3Server
let postgres: PostgresServer
let platform: TestPlatform
beforeAll(async () => {
  ;[store, postgres] = await Promise.all([S3Server.start(), startPostgres()])
  const env = {
    DATABASE_URL: postgres.url,
    VM0_S3_BUCKET: store.options.bucket,
    VM0_S3_ENDPOINT: store.options.endpoint,
    AWS_ACCESS_KEY_ID: 'S3RVER',
    AWS_SECRET_ACCESS_KEY: 'S3RVER',
  }
  platform = await TestPlatform.start([workScript], env, { args: ['--warm', '0', '--idle', '1'], samePort: true })
})
afterAll(async () => {
  await platform?.stop()
  await Promise.all([store?.close(), postgres?.stop()])
})
afterEach(() => {
  store.faultFor = () => undefined
})

const isPut = (method: string, url: string, folder: string): boolean =>
  method === 'PUT' && url.startsWith(`/vm0/${folder}/`)

/** Follows a run to its end over all that happens to the platform. */
async function eventsOf(run: Run): Promise<Vm0Event[]> {
  const events: Vm0Event[] = []
  for await (const event of run) events.push(event)
  return events
}

function expectWhole(events: Vm0Event[]): void {
  const cursors = events.map(({ cursor }) => cursor)
  expect(cursors.toSorted(compareCursors)).toEqual(cursors)
  const [epoch] = (cursors[1] as string).split('.')
  expect(cursors.slice(1)).toEqual(cursors.slice(1).map((_, index) => `${epoch}.${index + 1}`))
  expect(events.filter(({ type }) => type === 'run.finished')).toHaveLength(1)
}

/** Each resolves at that moment of a save, which goes no further then. */
const moments: [name: string, arrive: () => Promise<void>][] = [
  [
    'while the sandbox is frozen and copied',
    async () => {
      const scratch = watch(join(platform.dataDir, 'scratch'))
      await new Promise<void>((resolve) => {
        scratch.on('change', (_, name) => String(name).endsWith('.erofs') && resolve())
      })
      scratch.close()
    },
  ],
  [
    'while the layer is on its way to the store',
    () =>
      new Promise((resolve) => {
        store.faultFor = ({ method, url }) => (isPut(method, url, 'packs') ? (resolve(), 'hang') : undefined)
      }),
  ],
  [
    'between upload and commit',
    () =>
      new Promise((resolve) => {
        store.faultFor = ({ method, url }) => (isPut(method, url, 'manifests') ? { onDone: resolve } : undefined)
      }),
  ],
]

test.each(moments)('killed %s: the run ends as it would have, once', async (_, arrive) => {
  const arrived = arrive()
  const run = platform.client.run({ prompt: 'append a line', checkpoints: 'off' })
  const events = eventsOf(run)
  await arrived
  await platform.kill()
  store.faultFor = () => undefined
  await platform.up()
  expectWhole(await events)
  const { outcome, checkpoint, session } = await run.result()
  expect(outcome).toBe('succeeded')
  expect((await session.get()).head).toBe(checkpoint)
  const views = await Promise.all((await session.checkpoints.list()).items.map((each) => each.get()))
  expect(views.filter(({ cause }) => cause === 'run')).toHaveLength(1)
  await session.close()
  expect(await session.files.readText('/workspace/lines.txt')).toBe('line\n')
  expect((await platform.client.store.fsck({ deep: true })).problems).toEqual([])
  await session.delete()
})

test('a checkpoint that is on its way to the store can be neither forked nor gone back to; once it is there it can', async () => {
  const { session } = await platform.client.run({ prompt: 'append a line' })
  const { head } = await session.get()
  let goOn: () => void = () => undefined
  const until = new Promise<void>((resolve) => (goOn = resolve))
  const coming = new Promise<string>((resolve) => {
    store.faultFor = ({ method, url }) => {
      const [, hex] = /^\/vm0\/manifests\/sha256-([0-9a-f]{64})/.exec(url) ?? []
      if (method !== 'PUT' || !hex) return undefined
      resolve(`sha256:${hex}`)
      return { until }
    }
  })
  const run = session.run({ prompt: 'append a line', checkpoints: 'off' })
  const checkpoint = await coming
  const notYet = { code: 'CHECKPOINT_NOT_FOUND', message: expect.stringContaining(checkpoint) as string }
  await expect(platform.client.sessions.create({ from: checkpoint })).rejects.toMatchObject(notYet)
  await expect(platform.client.run({ prompt: 'append a line', from: checkpoint })).rejects.toMatchObject(notYet)
  await expect(session.rollback(checkpoint)).rejects.toThrow()
  expect((await session.get()).head).toBe(head)
  goOn()
  expect((await run.result()).checkpoint).toBe(checkpoint)
  const fork = await platform.client.sessions.create({ from: checkpoint })
  expect(await fork.files.readText('/workspace/lines.txt')).toBe('line\nline\n')
  for (const each of [fork, session]) await each.delete()
})

test('killed while the layers of a session are fetched: it is restored by the next start', async () => {
  const { session } = await platform.client.run({ prompt: 'append a line' })
  await session.close()
  await platform.kill()
  await rm(join(platform.dataDir, 'cache'), { recursive: true })
  await platform.up()
  const fetching = new Promise<void>((resolve) => {
    store.faultFor = ({ method, url }) =>
      method === 'GET' && url.startsWith('/vm0/packs/') ? (resolve(), 'hang') : undefined
  })
  const run = session.run('append a line')
  const events = eventsOf(run)
  await fetching
  await platform.kill()
  store.faultFor = () => undefined
  await platform.up()
  expectWhole(await events)
  expect((await run.result()).outcome).toBe('succeeded')
  expect(await session.files.readText('/workspace/lines.txt')).toBe('line\nline\n')
  await session.delete()
})

test('the store is away while a run is saved: its end waits, and nothing is lost', async () => {
  let failed = 0
  let backAtMs = Infinity
  store.faultFor = ({ url, number }) => {
    if (!/^\/vm0\/(packs|manifests)\//.test(url)) return undefined
    if (backAtMs === Infinity) backAtMs = performance.now() + outageMs
    if (performance.now() > backAtMs) return { delayMs: 50 }
    failed += 1
    return { status: number % 2 === 0 ? 500 : 503 }
  }
  const run = platform.client.run({ prompt: 'append a line', checkpoints: 'off' })
  expectWhole(await eventsOf(run))
  const { outcome, session } = await run.result()
  expect([outcome, failed > 1]).toEqual(['succeeded', true])
  store.faultFor = () => undefined
  await session.close()
  expect(await session.files.readText('/workspace/lines.txt')).toBe('line\n')
  await session.delete()
})

test('two runners believe that they own a session: what the older one writes is refused, and nothing is mixed', async () => {
  const { session } = await platform.client.run({ prompt: 'append a line' })
  const { head } = await session.get()
  const run = session.run('take a while')
  for await (const event of run) if (event.type === 'tool.started') break
  await session.files.write('/workspace/of-the-older', 'x')
  // What another runner does that takes a session over whose owner it believes to be dead.
  const client = new pg.Client({ connectionString: postgres.url })
  await client.connect()
  try {
    const taken = await client.query(
      "update sessions set runner_id = 'another', epoch = epoch + 1 where id = $1 returning epoch",
      [session.id],
    )
    const { epoch } = taken.rows[0] as { epoch: string }
    await client.query(
      `update runs set state = 'died', reason = 'host_lost', ended_at = now(), epoch = $2,
         error = '{"code":"HOST_LOST","message":"another runner took it","hint":"-"}' where id = $1`,
      [run.id, epoch],
    )
    const readWhole = async () => (await client.query('select * from sessions where id = $1', [session.id])).rows
    const before = await readWhole()
    expect(await run.result()).toMatchObject({ outcome: 'died', reason: 'host_lost' })
    // The older one ends its sandbox when it finds out.
    await expect.poll(async () => (await platform.client.runners.list())[0]!.sessions, { timeout: 30_000 }).toBe(0)
    expect(await readWhole()).toEqual(before)
    const checkpoints = await client.query('select id, epoch from checkpoints where session_id = $1', [session.id])
    expect(checkpoints.rows.filter((row) => Number((row as { epoch: string }).epoch) >= Number(epoch))).toEqual([])
    expect((await session.get()).head).toBe(head)
  } finally {
    await client.end()
  }
  // The next owner has what was committed, and nothing else.
  expect((await session.files.list('/workspace')).map(({ name }) => name)).toEqual(['lines.txt'])
  expect((await session.run('append a line')).outcome).toBe('succeeded')
  expect(await session.files.readText('/workspace/lines.txt')).toBe('line\nline\n')
  await session.delete()
})

/** Adds, changes, moves and removes files, and installs a package of its own; then tells what is there. */
const cycle = (n: number): string => `set -e; cd /workspace; mkdir d${n}
for i in 1 2 3 4 5 6 7 8; do head -c $((i * 2971)) /dev/urandom > d${n}/f$i; done; ln d${n}/f1 d${n}/hard; ln -s f2 d${n}/soft
if [ ${n} -gt 0 ]; then cd d${n - 1}; echo change >> f1; truncate -s 100 f2; rm f3; mv f4 ../d${n}/moved; chmod 600 f5; cd ..; fi
if [ ${n} -gt 2 ]; then rm -r d${n - 3}; fi
p=$(mktemp -d); mkdir -p $p/DEBIAN $p/usr/bin; printf '#!/bin/sh\necho ${n}\n' > $p/usr/bin/tool-${n}; chmod 755 $p/usr/bin/tool-${n}
printf 'Package: tool-${n}\nVersion: 1\nArchitecture: all\nMaintainer: test\nDescription: test\n' > $p/DEBIAN/control
dpkg-deb --build $p $p.deb > /dev/null; dpkg -i $p.deb > /dev/null; rm -r $p $p.deb`
const whatIsThere = `cd /; { find workspace usr/bin -type d -printf '%p %y %m\\n' -o -printf '%p %y %m %n %l\n'; find workspace -type f -print0 | xargs -0 sha256sum
  dpkg -l 'tool-*' | grep ^ii; cat usr/bin/tool-*; } | LC_ALL=C sort | sha256sum`

test('a session is closed and opened again and again, each time with other files and software: every hash is right', async () => {
  const session = await platform.client.sessions.create()
  const shell = async (command: string): Promise<string> => {
    const { exitCode, stdout, stderr } = await session.exec(command)
    if (exitCode !== 0) throw new Error(stderr)
    return stdout
  }
  const seen = new Set<string>()
  for (let n = 0; n < cycles; n++) {
    await shell(cycle(n))
    const before = await shell(whatIsThere)
    await session.close()
    expect([n, await shell(whatIsThere)]).toEqual([n, before])
    expect(await shell(`tool-${n}; dpkg -s tool-0 | grep Status`)).toBe(`${n}\nStatus: install ok installed\n`)
    seen.add(before)
  }
  expect(seen.size).toBe(cycles)
  await session.delete()
})

test('a file that is written about 100 ms before the idle time ends is there afterwards, each time', async () => {
  const atOnce = 5
  for (let done = 0; done < idleWrites; done += atOnce) {
    const sessions = await Promise.all(
      Array.from({ length: Math.min(atOnce, idleWrites - done) }, async (_, index) => {
        const session = await platform.client.sessions.create()
        await session.exec('true')
        // Some come while the session is being saved already.
        await wait(idleMs - 100 + index * 40)
        await session.files.write('/workspace/late', session.id)
        return session
      }),
    )
    await expect.poll(async () => (await platform.client.runners.list())[0]!.sessions, { timeout: 60_000 }).toBe(0)
    for (const session of sessions) {
      expect(await session.files.readText('/workspace/late')).toBe(session.id)
      await session.delete()
    }
  }
})
