import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, expect, test } from 'vitest'
import { CpuWaits } from './cpu-waits.js'
import type { ProcessEnd } from './exits/index.js'
import { ProcessTable } from './process-table.js'

const children: ChildProcess[] = []
afterEach(async () => {
  for (const child of children.splice(0)) {
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }
})

/** Threads that use all that they get of one CPU, which they share. */
async function crowd(threads: number): Promise<number> {
  const work = 'import threading\ndef work():\n  while True: pass\n'
  const more =
    'for _ in range(N - 1): threading.Thread(target=work, daemon=True).start()\nprint("begun", flush=True)\nwork()'
  const child = spawn('taskset', ['-c', '0', 'python3', '-c', work + more.replace('N', String(threads))])
  children.push(child)
  await once(child.stdout!, 'data')
  return child.pid as number
}

async function lookUntil(waits: CpuWaits, pids: number[], isEnough: () => boolean): Promise<void> {
  const table = new ProcessTable()
  await expect
    .poll(
      () => {
        table.update(pids, Date.now())
        waits.look(table.processes, Date.now())
        return isEnough()
      },
      { timeout: 60_000, interval: 20 },
    )
    .toBe(true)
}

test('processes that share a CPU: how long each waited for it adds up, by the kernel’s own account', async () => {
  const waits = new CpuWaits()
  waits.reset(0)
  const fromMs = performance.now()
  const pids = await Promise.all([crowd(1), crowd(1), crowd(1)])
  await lookUntil(waits, pids, () => waits.totalMs > 200)
  expect(waits.totalMs).toBeLessThan(3 * (performance.now() - fromMs))
})

test('of threads that share a CPU the one that waited longest stands for its process', async () => {
  const waits = new CpuWaits()
  waits.reset(0)
  const pid = await crowd(3)
  await lookUntil(waits, [pid, await crowd(1)], () => waits.totalMs > 200)
  expect(waits.longestMs).toBeGreaterThan(0)
  expect(waits.longestMs).toBeLessThanOrEqual(waits.totalMs)
})

test('of those that ran before only what they wait from then on', async () => {
  const pids = await Promise.all([crowd(1), crowd(1)])
  const before = new CpuWaits()
  before.reset(0)
  await lookUntil(before, pids, () => before.totalMs > 200)
  const waits = new CpuWaits()
  waits.reset(Date.now() + 60_000)
  const table = new ProcessTable()
  table.update(pids, Date.now())
  waits.look(table.processes, Date.now())
  expect(waits.totalMs).toBe(0)
  await lookUntil(waits, pids, () => waits.totalMs > 10)
})

const end = (more: Partial<ProcessEnd>): ProcessEnd => ({
  pid: 2 ** 30,
  parentPid: 1,
  uid: 1,
  name: 'x',
  startedAtS: 100,
  durationMs: 400,
  cpuMs: 1,
  waitedMs: 300,
  peakRssBytes: 0,
  readBytes: 0,
  writtenBytes: 0,
  exitCode: 0,
  signal: null,
  ...more,
})

test('what came and went between two looks is counted as the kernel tells it, and no more than can be', () => {
  const waits = new CpuWaits()
  waits.reset(99_000)
  waits.ended(end({}), 101_000)
  expect(waits.totalMs).toBe(300)
  waits.ended(end({ waitedMs: 1e9 }), 101_000)
  expect([waits.totalMs, waits.longestMs]).toEqual([700, 700])
  waits.ended(end({ startedAtS: 50 }), 101_000)
  expect(waits.totalMs).toBe(700)
})

test('a process that was gone before it could be read, or whose id another one has now, counts as nothing', () => {
  const waits = new CpuWaits()
  waits.reset(0)
  const gone = { pid: 2 ** 30, startTicks: 1, startedAtMs: 1, seenAtMs: 1, state: 'R', threads: 3, cpuMs: 1 }
  waits.look([gone], 1)
  waits.look([{ ...gone, startTicks: 2, threads: 1 }], 2)
  expect(waits.totalMs).toBe(0)
})
