import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ExitFeed } from './exit-feed.js'
import { ProcessEnds, type ProcessEnd } from './process-ends.js'
import { readTaskExit, type TaskExit } from './task-exit.js'

/** User ids that nothing else of this host has. */
const uidBase = 2_000_000_000
let feed: ExitFeed
let ends: ProcessEnd[]
beforeEach(() => {
  feed = new ExitFeed()
  ends = []
  feed.subscribe(uidBase, (end) => ends.push(end))
  feed.listen()
})
afterEach(() => feed.stop())

async function run(program: string, args: string[], uid = uidBase + 7): Promise<number> {
  const child = spawn(program, args, { uid, gid: uid, stdio: 'ignore', cwd: '/' })
  await once(child, 'close')
  feed.drain()
  return child.pid as number
}

test('the kernel tells status, signal, CPU time, memory and bytes of each process, however short', async () => {
  const failed = await run('/bin/sh', ['-c', '/bin/true; exit 7'])
  const killed = await run('/bin/sh', ['-c', 'kill -SEGV $$'])
  const large = await run('python3', ['-c', 'kept = bytearray(b"x" * (64 << 20))'])
  const of = (pid: number): ProcessEnd | undefined => ends.find((end) => end.pid === pid)
  expect(of(failed)).toMatchObject({ parentPid: process.pid, exitCode: 7, signal: null, name: 'sh' })
  expect(ends.find(({ parentPid }) => parentPid === failed)).toMatchObject({ name: 'true', exitCode: 0 })
  expect(of(killed)).toMatchObject({ exitCode: null, signal: 'SIGSEGV' })
  expect(of(large)!.peakRssBytes).toBeGreaterThan(64 * 1024 ** 2)
  expect(of(large)!.durationMs).toBeGreaterThan(0)
  expect(ends).toHaveLength(4)
})

test('a process with threads is told once, with what all of them have used', async () => {
  const busy =
    'import threading, time\ndef work():\n  end = time.thread_time() + 0.06\n  while time.thread_time() < end: pass\n'
  const pid = await run('python3', ['-c', `${busy}for _ in range(4): threading.Thread(target=work).start()`])
  expect(ends.map((end) => end.pid)).toEqual([pid])
  expect(ends[0]!.cpuMs).toBeGreaterThan(200)
  // Four threads, of which one at a time holds the interpreter: what was ready to run waited less than it lived.
  expect(ends[0]!.waitedMs).toBeGreaterThan(0)
  expect(ends[0]!.waitedMs).toBeLessThan(5 * ends[0]!.durationMs)
})

test('processes of others are not handed on, and none when nobody listens', async () => {
  await run('/bin/true', [], uidBase - 1)
  await run('/bin/true', [], uidBase + 65_536)
  expect(ends).toEqual([])
  feed.stop()
  await run('/bin/true', [])
  feed.listen()
  feed.drain()
  expect(ends).toEqual([])
})

test('a message of any other form is none', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 700 }), (bytes) => {
      expect(readTaskExit(Buffer.from(bytes))).toBeUndefined()
    }),
  )
})

const task = (pid: number, more: Partial<TaskExit>): TaskExit => ({
  pid,
  processId: 10,
  parentPid: 1,
  uid: 5,
  name: 'x',
  startedAtS: 1,
  durationMs: 1,
  processDurationMs: 9,
  cpuMs: 2,
  waitedMs: 5,
  peakRssBytes: 4,
  readBytes: 3,
  writtenBytes: 1,
  status: 0,
  isLast: false,
  ...more,
})

test('threads are added up in any order; without the first one how it ended is not known', () => {
  const all = new ProcessEnds()
  expect(all.add(task(10, { status: 3 << 8 }))).toBeUndefined()
  expect(all.add(task(11, {}))).toBeUndefined()
  expect(all.add(task(12, { status: 9, isLast: true }))).toMatchObject({
    cpuMs: 6,
    waitedMs: 15,
    readBytes: 9,
    exitCode: 3,
    signal: null,
  })
  expect(all.add(task(12, { isLast: true }))).toMatchObject({ cpuMs: 2, exitCode: null, signal: null })
})

test('ends that never come are not waited for without bound', () => {
  const all = new ProcessEnds()
  for (let id = 0; id < 20_000; id += 1) all.add(task(id, { processId: id }))
  expect(all.add(task(1, { processId: 1, isLast: true, pid: 2 }))!.cpuMs).toBe(2)
  expect(all.add(task(1, { processId: 19_999, isLast: true, pid: 2 }))!.cpuMs).toBe(4)
})
