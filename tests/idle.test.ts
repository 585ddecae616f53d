import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { TestPlatform } from './support/platform.js'

const script = { name: 'idle', conversations: [{ when: 'hello', steps: [{ text: 'hello back' }] }] }

let platform: TestPlatform
beforeAll(async () => {
  platform = await TestPlatform.start(
    [script],
    { VM0_METRICS: '127.0.0.1:0' },
    { args: ['--warm', '0', '--freeze', '1', '--reclaim-below', '100'] },
  )
})
afterAll(() => platform.stop())

async function frozenSessions(count: number): Promise<void> {
  while ((await platform.client.runners.list())[0]!.frozen !== count) await wait(20)
}

/** The kernel's word on every sandbox of the platform; cgroup v1. */
async function freezerStates(): Promise<string[]> {
  const installation = (await readFile(join(platform.dataDir, 'installation'), 'utf8')).trim()
  const group = join('/sys/fs/cgroup/freezer/vm0', installation)
  const sandboxes = (await readdir(group, { withFileTypes: true })).filter((entry) => entry.isDirectory())
  return Promise.all(
    sandboxes.map(async ({ name }) => (await readFile(join(group, name, 'freezer.state'), 'utf8')).trim()),
  )
}

test('an idle session is frozen, and the next prompt finds its agent where it was', async () => {
  const first = platform.client.run({ prompt: 'hello' })
  await first
  await first.session.exec('setsid sh -c "while :; do date >> /workspace/ticks; sleep 0.05; done" >/dev/null 2>&1 &')
  await frozenSessions(1)
  expect(await freezerStates()).toEqual(['FROZEN'])
  const second = first.session.run('hello again')
  const ready = []
  for await (const event of second) if (event.type === 'sandbox.ready') ready.push(event)
  expect(ready).toMatchObject([{ how: 'session' }])
  expect((await second).outcome).toBe('succeeded')
  // The process in the background goes on too.
  const ticks = async () => Number((await first.session.exec('wc -l < /workspace/ticks')).stdout)
  const before = await ticks()
  while ((await ticks()) <= before) await wait(20)
  await first.session.delete()
})

test('the memory of a frozen session is given back, and its next prompt is answered as ever', async () => {
  const first = platform.client.run({ prompt: 'hello' })
  await first
  await first.session.exec('head -c 50000000 /dev/zero > /workspace/large; sync; cat /workspace/large > /dev/null')
  const status = async () => (await platform.client.runners.list())[0]!
  const before = (await status()).reclaimedBytes
  while ((await status()).reclaimed !== 1) await wait(20)
  expect((await status()).reclaimedBytes - before).toBeGreaterThan(40_000_000)
  expect(JSON.parse((await platform.cli('top', '--json')).stdout)).toMatchObject({ state: 'reclaimed' })
  const metrics = await (await fetch(/Metrics are at (\S+)/.exec(platform.words)?.[1] ?? '')).text()
  expect(metrics).toContain('vm0_sandboxes{state="reclaimed"} 1')
  expect(Number(/^vm0_reclaimed_bytes_total (\S+)$/m.exec(metrics)?.[1])).toBeGreaterThan(40_000_000)
  expect((await first.session.run('hello again')).text).toBe('hello back')
  expect((await status()).reclaimed).toBe(0)
  expect((await first.session.exec('wc -c < /workspace/large')).stdout).toBe('50000000\n')
  await first.session.delete()
})

test('what ran in the background and could not survive is named in the record of the session, and told to its next run', async () => {
  const { session } = await platform.client.run({ prompt: 'hello' })
  await session.exec("setsid sh -c 'sleep 4567; true' >/dev/null 2>&1 &")
  while (!(await session.exec('cat /proc/[0-9]*/cmdline | tr "\\0" " "')).stdout.includes('sleep 4567 ')) await wait(20)
  await session.close()
  const lost = (await session.get()).lostProcesses
  expect(lost?.processes.map(({ command }) => command)).toEqual(['sh -c sleep 4567; true', 'sleep 4567'])
  for (const { pid } of lost?.processes ?? []) expect(pid).toBeGreaterThan(1)
  const shown = await platform.cli('sessions', 'show', session.id)
  expect(shown.stdout).toMatch(/lost process +sleep 4567 \(pid \d+\)/)

  const told = async () => {
    const run = session.run('hello again')
    const found = []
    for await (const event of run) if (event.type === 'processes.lost') found.push(event)
    return found
  }
  expect(await told()).toMatchObject([{ ...lost, count: 2 }])
  // In the same sandbox it is told once; the agent and what it started are not among those that are lost.
  expect(await told()).toEqual([])
  await session.close()
  expect((await session.get()).lostProcesses).toBeNull()
  expect(await told()).toEqual([])
  await session.delete()
})

test('a frozen session is saved as it is, and frees its sandbox', async () => {
  const { session } = await platform.client.run({ prompt: 'hello' })
  await session.files.write('/workspace/kept.txt', 'kept')
  await frozenSessions(1)
  await session.close()
  expect(await freezerStates()).toEqual([])
  expect(await session.files.readText('/workspace/kept.txt')).toBe('kept')
  await session.delete()
})
