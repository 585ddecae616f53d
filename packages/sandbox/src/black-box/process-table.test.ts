import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, test } from 'vitest'
import { lastOutputOf } from './last-output.js'
import { ProcessTable, statOf, type ProcessEntry } from './process-table.js'
import { ofCommand } from './tool-process.js'
import { changedFiles } from './uncommitted.js'

test('a name with brackets, spaces and newlines is a name and nothing else', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'vm0-names-'))
  const name = ') R 1 (\n)'
  await symlink('/bin/sleep', join(directory, name))
  const child = spawn(join(directory, name), ['600'])
  try {
    await once(child, 'spawn')
    await expect.poll(() => statOf(child.pid!)?.name).toBe(name)
    expect(statOf(child.pid!)).toMatchObject({ parentPid: process.pid })
  } finally {
    child.kill('SIGKILL')
    await rm(directory, { recursive: true })
  }
})

test('a process that ends between two looks is told as ended, and its id may come again as another one', async () => {
  const table = new ProcessTable()
  const child = spawn('sleep', ['600'])
  await once(child, 'spawn')
  await expect.poll(() => statOf(child.pid!)?.name).toBe('sleep')
  table.update([child.pid!, 2 ** 22 + 1], 1_000)
  expect(table.processes).toMatchObject([{ pid: child.pid, command: 'sleep 600', ended: false }])
  child.kill('SIGKILL')
  await once(child, 'close')
  table.update([child.pid!], 2_000)
  expect(table.processes).toEqual([])
  expect(table.since(1_000)).toMatchObject([{ pid: child.pid, ended: true, seenAtMs: 1_000 }])
  expect(table.since(1_001)).toEqual([])
})

test('a process whose arguments can not be read at first, as while it begins its program, is told with them afterwards', async () => {
  const script = `
stat = open('/proc/self/stat').read()
at, end = map(int, stat[stat.rindex(')') + 2:].split()[45:47])
with open('/proc/self/mem', 'r+b', buffering=0) as memory:
    def put(content):
        memory.seek(at)
        memory.write(content)
    memory.seek(at)
    arguments = memory.read(end - at)
    put(bytes(end - at))
    print('hidden', flush=True)
    input()
    put(arguments)
    print('shown', flush=True)
    input()`
  const table = new ProcessTable()
  const child = spawn('python3', ['-c', script], { stdio: ['pipe', 'pipe', 'inherit'] })
  const said = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  try {
    expect((await said.next()).value).toBe('hidden')
    table.update([child.pid!], 1_000)
    expect(table.get(child.pid!)?.command).toBe(`[${statOf(child.pid!)?.name}]`)
    child.stdin.write('\n')
    expect((await said.next()).value).toBe('shown')
    table.update([child.pid!], 2_000)
    expect(table.get(child.pid!)?.command).toMatch(/python3\S* -c/)
  } finally {
    child.kill('SIGKILL')
  }
})

test('what is kept of processes that have ended is bounded, whatever a sandbox starts', () => {
  const table = new ProcessTable()
  const own = statOf(process.pid)!
  expect(own.rssBytes).toBeGreaterThan(0)
  for (let round = 0; round < 2_000; round++) table.update(round % 2 === 0 ? [process.pid] : [], round)
  expect(table.since(0).length).toBeLessThanOrEqual(513)
  expect(table.forgottenSince(0) + table.since(0).length).toBe(1_000)
})

test('of ten thousand that the kernel tells of, those that used most or failed are kept with what had started them', () => {
  const table = new ProcessTable()
  const end = { uid: 1, name: 'x', startedAtS: 10, durationMs: 1, readBytes: 0, writtenBytes: 0, signal: null }
  const tell = (pid: number, parentPid: number, cpuMs: number, exitCode = 0): void =>
    table.ended({ ...end, pid, parentPid, cpuMs, exitCode, waitedMs: 0, peakRssBytes: 4096 }, 11_000)
  for (let pid = 100; pid < 10_100; pid += 1) tell(pid, 1, 0, pid === 5_000 ? 3 : 0)
  tell(20_001, 20_000, 900)
  tell(20_000, 1, 0)
  for (let pid = 30_000; pid < 30_300; pid += 1) tell(pid, 1, 1)
  const kept = table.since(0)
  expect(kept.length).toBeLessThanOrEqual(512)
  expect(kept.length + table.forgottenSince(0)).toBe(10_302)
  expect(kept.map(({ pid }) => pid)).toEqual(expect.arrayContaining([5_000, 20_001, 20_000]))
  table.forget(20_000)
  expect([table.since(0).length, table.forgottenSince(0)]).toEqual([0, 0])
})

test('the last lines are read of a file, and of nothing else', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'vm0-output-'))
  const file = join(directory, 'out')
  await writeFile(file, '')
  const toFile = spawn('sh', ['-c', `seq 9 >>"${file}"; exec sleep 600 >>"${file}"`], { stdio: 'ignore' })
  const toPipe = spawn('sleep', ['600'], { stdio: ['ignore', 'pipe', 'pipe'] })
  try {
    await expect.poll(() => lastOutputOf(toFile.pid!)).toEqual(['5', '6', '7', '8', '9'])
    expect(lastOutputOf(toPipe.pid!)).toEqual([])
  } finally {
    toFile.kill('SIGKILL')
    toPipe.kill('SIGKILL')
    await rm(directory, { recursive: true })
  }
})

test('changed files are looked for below the folder only: a link that leads out is not followed', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'vm0-changed-'))
  try {
    await writeFile(join(directory, 'a.txt'), 'x')
    await symlink('/etc', join(directory, 'out'))
    await symlink('/etc/passwd', join(directory, 'passwd'))
    expect(changedFiles(directory, 0)).toEqual({ paths: ['a.txt'], more: 0 })
    expect(changedFiles(directory, Date.now() + 60_000)).toEqual({ paths: [], more: 0 })
    expect(changedFiles(join(directory, 'out'), 0)).toEqual({ paths: [], more: 0 })
  } finally {
    await rm(directory, { recursive: true })
  }
})

test('of a command’s tree the shell around it is left out, and its parts don’t pass for the shell', () => {
  const entry = (pid: number, command: string) => ({ pid, name: 'bash', command }) as ProcessEntry
  const shell = entry(1, '/bin/bash -c long preamble')
  const shown = (tree: ProcessEntry[]): string[] => ofCommand(tree).map(({ command }) => command)
  expect(shown([])).toEqual([])
  expect(shown([shell])).toEqual([shell.command])
  expect(shown([shell, entry(2, shell.command), entry(3, 'make')])).toEqual(['bash (subshell)', 'make'])
  expect(shown([entry(1, '[bash]'), entry(2, '[bash]')])).toEqual(['[bash]'])
})
