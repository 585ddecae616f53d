import { execFile } from 'node:child_process'
import { readFile, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { OutputLine, ProcessSpec, Sandbox } from '../engine.js'
import { openOciEngine } from '../index.js'
import { gatewayPort, python, sh, TestEngine } from './engine.test.fixture.js'

const exec = promisify(execFile)
let host: TestEngine
beforeAll(async () => {
  host = await TestEngine.open()
}, 900_000)
afterAll(() => host?.close())

const process = (id: string, args: string[], maxOutputBytes = 1024 ** 2): ProcessSpec => ({
  id,
  args,
  env: {},
  cwd: '/',
  maxOutputBytes,
})

async function linesOf(output: AsyncIterable<OutputLine>): Promise<string[]> {
  const lines: string[] = []
  for await (const { text } of output) lines.push(text)
  return lines
}

/** Waits for the end of what was killed: the signal returns before it. */
async function gone(sandbox: Sandbox, pattern: string): Promise<void> {
  while ((await sh(sandbox, `ps -e -o args= | grep -cE '${pattern}'`)).out !== '0\n') await wait(10)
}

test('a fork bomb stays within its processes, leaves a way in, and ends with the sandbox', () =>
  host.withSandbox(async (sandbox) => {
    const bomb = await sandbox.spawn(
      process('bomb', ['python3', '-c', 'import os\nwhile True:\n try: os.fork()\n except OSError: pass']),
    )
    while ((await sandbox.stats()).processes < 64) await wait(10)
    expect((await sh(sandbox, 'echo $BASH_VERSION')).out).not.toBe('')
    expect((await sandbox.stats()).processes).toBeLessThanOrEqual(65) // joining is not forking
    await sandbox.freeze()
    await sandbox.thaw()
    await sandbox.close()
    expect((await bomb.exited).exitCode).toBe(137)
    const { stdout } = await exec('find', ['/sys/fs/cgroup', '-path', `*/${sandbox.id}*`])
    expect(stdout).toBe('')
  }))

test('memory file systems count as memory and leave room to clear them, also in the smallest sandbox', () =>
  host.withSandbox(
    async (sandbox) => {
      const fill =
        'for folder in /dev/shm /run /dev; do dd if=/dev/zero of=$folder/fill bs=1M count=1000 2>&1 | grep -c "No space"; done'
      expect((await sh(sandbox, fill)).out).toBe('1\n1\n1\n')
      const { memoryBytes } = await sandbox.stats()
      expect(memoryBytes).toBeGreaterThan(80 * 1024 ** 2)
      expect(memoryBytes).toBeLessThan(256 * 1024 ** 2)
      expect((await sh(sandbox, 'rm /dev/shm/fill /run/fill /dev/fill && echo cleared')).out).toBe('cleared\n')
    },
    { resources: { memoryMiB: 256 } },
  ))

test('a process that eats memory is ended, also when its children do it together; the others live on', () =>
  host.withSandbox(async (sandbox) => {
    const script = `
import os, time
for _ in range(20):
    if os.fork() == 0:
        kept = bytearray(100 * 1024 * 1024)
        os._exit(0)
print(sum(os.waitstatus_to_exitcode(os.wait()[1]) == -9 for _ in range(20)) > 0)`
    const result = await python(sandbox, script)
    // The kernel takes the largest: a child, or the parent with it.
    expect([result.out, result.status]).toEqual(result.status === 0 ? ['True\n', 0] : ['', 137])
    const { memoryPeakBytes } = await sandbox.stats()
    expect(memoryPeakBytes).toBeLessThanOrEqual(513 * 1024 ** 2)
    expect((await sh(sandbox, 'echo alive')).out).toBe('alive\n')
  }))

test('a full disk is told to who writes, can be cleared, and can be saved', () =>
  host.withSandbox(async (sandbox) => {
    const fill =
      'cd /workspace; yes | head -c 300M >big; for i in $(seq 100000); do : >small-$i || break; done 2>/dev/null; sync'
    await sh(sandbox, fill)
    const full = await sandbox.stats()
    expect(full.diskTotalBytes - full.diskUsedBytes).toBeLessThan(4 * 1024 ** 2)
    const image = join(host.directory, 'full.erofs')
    await sandbox.freeze()
    await sandbox.withUpperView((upper) => exec('mkfs.erofs', ['--quiet', image, upper]))
    await sandbox.thaw()
    expect((await stat(image)).size).toBeGreaterThan(100 * 1024 ** 2)
    expect((await sh(sandbox, 'cd /workspace && rm -rf big small-* && echo again >file && cat file')).out).toBe(
      'again\n',
    )
    expect((await sandbox.stats()).diskUsedBytes).toBeLessThan(32 * 1024 ** 2)
  }))

test('a file with more holes than the disk has room takes what it holds, not what it says', () =>
  host.withSandbox(async (sandbox) => {
    const before = await statfs(host.directory)
    expect((await sh(sandbox, 'truncate -s 5G /workspace/sparse && stat -c %s /workspace/sparse')).out).toBe(
      '5368709120\n',
    )
    const after = await statfs(host.directory)
    expect((before.bavail - after.bavail) * before.bsize).toBeLessThan(100 * 1024 ** 2)
    expect((await sandbox.stats()).diskUsedBytes).toBeLessThan(1024 ** 2)
  }))

test('output is cut at its limit also when nobody reads it, and the writer ends', () =>
  host.withSandbox(async (sandbox) => {
    const unread = await sandbox.spawn(process('flood', ['sh', '-c', 'yes >&2 & exec head -c 1G /dev/zero']))
    // The status of head after SIGPIPE, and what is kept of 1 GiB without a line's end.
    expect((await unread.exited).exitCode).not.toBe(0)
    const kept = join(host.directory, 'sandboxes', sandbox.id, 'flood')
    for (const stream of ['out', 'err'])
      expect((await stat(join(kept, stream, 'current'))).size).toBeLessThanOrEqual(1024 ** 2)
    await gone(sandbox, '^(yes|head)')
  }))

test('who ignores SIGTERM is killed, with what it piped to and its children', () =>
  host.withSandbox(async (sandbox) => {
    const script = 'trap "" TERM; echo ready; sleep 1001 | sleep 1002 & sleep 1003; sleep 1004'
    const stubborn = await sandbox.spawn(process('stubborn', ['bash', '-c', script]))
    const output = stubborn.output()[Symbol.asyncIterator]()
    await output.next()
    await stubborn.kill('SIGTERM')
    expect((await sh(sandbox, 'ps -e -o args= | grep -c "^bash -c trap"')).out).not.toBe('0\n')
    await stubborn.kill()
    expect((await stubborn.exited).exitCode).toBe(137)
    await gone(sandbox, 'sleep 100[0-9]$')
  }))

test('a child that keeps the pipes after its parent has ended keeps nobody waiting', () =>
  host.withSandbox(async (sandbox) => {
    const parent = await sandbox.spawn(process('parent', ['bash', '-c', 'sleep 1000 & echo said; exit 3']))
    expect(await linesOf(parent.output())).toEqual(['said'])
    expect((await parent.exited).exitCode).toBe(3)
    expect(await sh(sandbox, 'sleep 1000 & echo said; exit 4')).toEqual({ status: 4, out: 'said\n' })
    const flood = await sh(sandbox, 'yes & exit 5')
    expect(flood.status).toBe(5)
    // What was written before the end is there in full, whoever holds the pipe.
    expect((await sh(sandbox, 'sleep 1000 & seq 200000')).out.length).toBe(1_288_895)
  }))

test('an abort ends the whole pipeline of a command', () =>
  host.withSandbox(async (sandbox) => {
    const abort = new AbortController()
    const running = sandbox.exec({
      args: ['bash', '-c', 'echo on; sleep 1001 | sleep 1002'],
      cwd: '/',
      signal: abort.signal,
    })
    const chunks: unknown[] = []
    for await (const chunk of running) {
      chunks.push(chunk)
      abort.abort()
    }
    expect(chunks.at(-1)).toEqual({ exitCode: 137 })
    await gone(sandbox, 'sleep 100[0-9]$')
  }))

test('a process that never reads its input holds up neither its writers, nor the file operations of this process', () =>
  host.withSandbox(async (sandbox) => {
    const deaf = await Promise.all(
      Array.from({ length: 8 }, (_, index) => sandbox.spawn(process(`deaf${index}`, ['sleep', '1000']))),
    )
    const line = 'x'.repeat(1024 ** 2)
    const writes = deaf.flatMap((each) => [each.write(line), each.write(line)])
    expect(await readFile('/proc/self/comm', 'utf8')).not.toBe('')
    const more = Array.from({ length: 20 }, () => deaf[0]!.write(line))
    await expect(Promise.race(more)).rejects.toMatchObject({ code: 'NOT_READY' })
    writes.push(...more.map((each) => each.catch(() => undefined)))
    await Promise.all(deaf.map((each) => each.kill()))
    await Promise.all([...writes, ...deaf.map(({ exited }) => exited)])
  }))

test('a sandbox outlives the end of everything in it but its first process, and says when that has ended', () =>
  host.withSandbox(async (sandbox) => {
    await sh(sandbox, 'echo kept >/workspace/file; kill -9 -1; kill -9 1')
    expect(await sandbox.alive()).toBe(true)
    expect((await sh(sandbox, 'cat /workspace/file')).out).toBe('kept\n')
    await sh(sandbox, 'kill -TERM 1')
    while (await sandbox.alive()) await wait(5)
    await expect(sh(sandbox, 'true')).rejects.toMatchObject({ code: 'EXEC_FAILED' })
    await sandbox.freeze()
    expect(await sandbox.withUpperView((upper) => readFile(join(upper, 'workspace', 'file'), 'utf8'))).toBe('kept\n')
    await sandbox.thaw()
  }))

test('names with line breaks, bytes that are no text, long names, ten thousand files and a deep tree', () =>
  host.withSandbox(async (sandbox) => {
    const script = `
import os
os.chdir('/workspace')
for name in [b'line\\nbreak', b'\\xff\\xfe', b'tab\\t', b' ', b'-rf', b'n' * 254, b"quote'\\"$(x)"]:
    open(name, 'wb').write(name)
os.mkdir('many')
for i in range(10000): open(f'many/{i}', 'w').close()
for depth in range(750): # as long as a path may be
    os.mkdir('deep'); os.chdir('deep')
open('bottom', 'w').close()`
    expect((await python(sandbox, script)).status).toBe(0)
    const image = join(host.directory, 'names.erofs')
    await sandbox.freeze()
    const packed = await sandbox.withUpperView((upper) =>
      exec('mkfs.erofs', ['--quiet', image, upper]).then(
        () => '',
        (error: Error) => error.message,
      ),
    )
    await sandbox.thaw()
    expect(packed).toBe('')
    const count = `
import os
print(len(os.listdir('/workspace/many')), sorted(os.listdir(b'/workspace'))[:3])`
    const seen = (await python(sandbox, count)).out
    await host.withSandbox(async (restored) => expect((await python(restored, count)).out).toBe(seen), {
      layers: [{ path: image, devices: [] }],
    })
  }))

test('programs count the CPUs and the memory of the sandbox', () =>
  host.withSandbox(async (sandbox: Sandbox) => {
    const script = `
nproc
python3 -c 'import os; print(os.cpu_count(), len(os.sched_getaffinity(0)))'
node -p 'const os = require("os"); [os.availableParallelism(), os.cpus().length, os.totalmem() / 1048576, process.constrainedMemory() / 1048576, os.freemem() <= os.totalmem()].join(" ")'
free -m | awk '/^Mem/ { print $2 }'
grep -c ^processor /proc/cpuinfo`
    expect((await sh(sandbox, script)).out).toBe('1\n1 1\n1 1 512 512 true\n512\n1\n')
  }))

test('what the host had no room for is told once the state is to be saved, though nobody inside was told', async () => {
  const directory = join(host.directory, 'small')
  await exec('sh', [
    '-c',
    'truncate -s 200M $0.img && mkfs.ext4 -q -F -m 0 $0.img && mkdir $0 && mount -o loop $0.img $0',
    directory,
  ])
  const installation = `${host.installation.slice(0, 7)}s`
  const engine = await openOciEngine({
    installation,
    dataDir: directory,
    gatewayPort: gatewayPort + 1,
    minFreeBytes: 0,
  })
  try {
    const sandbox = await engine.create({
      id: `${installation}x`,
      templateImage: host.templateImage,
      layers: [],
      resources: { memoryMiB: 512, cpus: 1, diskMiB: 1024, processes: 64 },
      platformMounts: [],
    })
    await sandbox.withUpperView(async () => undefined)
    expect((await sh(sandbox, 'yes | head -c 400M >/workspace/big && sync && echo all is well')).out).toBe(
      'all is well\n',
    )
    await sandbox.freeze()
    for (let tries = 0; tries < 2; tries++)
      await expect(sandbox.withUpperView(async () => undefined)).rejects.toMatchObject({ code: 'HOST_DISK_FULL' })
    await sandbox.thaw()
    await sandbox.close()
  } finally {
    await engine.close()
    await exec('umount', ['-l', directory])
  }
})
