import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { isCgroup2, openCgroups } from './cgroup.js'
import { CgroupsV2 } from './cgroups-v2.js'
import { field } from './control-files.js'

// Real groups, of the version that this host has; tests/guest has the same for version 2.

const path = `/vm0-test-${process.pid}`
const roots = isCgroup2()
  ? ['/sys/fs/cgroup']
  : readdirSync('/sys/fs/cgroup')
      .map((name) => join('/sys/fs/cgroup', name))
      .filter((directory) => existsSync(join(directory, 'cgroup.procs')))

test('a group and what was made below it is removed with the processes in it, frozen as they are', async () => {
  const cgroups = openCgroups()
  await cgroups.prepare(path)
  const sleeper = spawn('sleep', ['600'])
  const ended = once(sleeper, 'exit')
  try {
    for (const root of roots) {
      mkdirSync(join(root, path, 'one/nested'), { recursive: true })
      if (existsSync(join(root, path, 'cpuset.cpus'))) continue // takes processes only once it has CPUs
      writeFileSync(join(root, path, 'one/nested/cgroup.procs'), String(sleeper.pid))
    }
    await cgroups.at(`${path}/one`).freeze()
    expect((await cgroups.at(`${path}/one/nested`).stats()).processes).toBe(1)
  } finally {
    await cgroups.remove(path)
  }
  expect(await ended).toEqual([null, 'SIGKILL'])
  expect(roots.filter((root) => existsSync(join(root, path)))).toEqual([])
  await cgroups.remove(path)
})

test('a parent is removed with its last group only', async () => {
  const cgroups = openCgroups()
  await cgroups.prepare(`${path}p/one`)
  await cgroups.removeIfEmpty(`${path}p`)
  expect(roots.some((root) => existsSync(join(root, `${path}p/one`)))).toBe(true)
  await cgroups.remove(`${path}p/one`)
  await cgroups.removeIfEmpty(`${path}p`)
  expect(roots.filter((root) => existsSync(join(root, `${path}p`)))).toEqual([])
})

test('a host that lacks a controller is told which, and what is expected', async () => {
  const root = await mkdtemp(join(tmpdir(), 'vm0-cgroup2-'))
  try {
    await writeFile(join(root, 'cgroup.controllers'), 'cpuset cpu io hugetlb pids\n')
    await expect(new CgroupsV2(root).prepare('/vm0/a')).rejects.toMatchObject({
      code: 'RUNTIME_MISSING',
      message: expect.stringContaining('memory'),
      hint: expect.stringContaining('cpu, memory, pids'),
      retryable: false,
    })
  } finally {
    await rm(root, { recursive: true })
  }
})

test('a field of a control file is found by its whole name', () => {
  const events = 'low 0\nhigh 7\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n'
  expect(['oom', 'oom_kill', 'oom_group_kill', 'kill', 'high'].map((name) => field(events, name))).toEqual([
    3, 2, 1, 0, 7,
  ])
})

test('memory of a frozen group is taken back as far as there is a place for it, and its limit stays', async () => {
  const cgroups = openCgroups()
  const group = `${path}r`
  await cgroups.prepare(group)
  const directory = await mkdtemp(join(tmpdir(), 'vm0-reclaim-'))
  const file = join(directory, 'read')
  await writeFile(file, Buffer.alloc(40 * 1024 ** 2))
  // It enters the group before it reads anything: what it reads is charged to the group.
  const script = 'read go; dd if="$0" of="$0.copy" bs=1M conv=fsync 2>/dev/null; echo read; exec cat'
  const reader = spawn('sh', ['-c', script, file], { stdio: ['pipe', 'pipe', 'ignore'] })
  const ended = once(reader, 'exit')
  try {
    for (const root of roots)
      if (!existsSync(join(root, group, 'cpuset.cpus')))
        writeFileSync(join(root, group, 'cgroup.procs'), String(reader.pid))
    const cgroup = cgroups.at(group)
    await cgroup.limitMemory(512 * 1024 ** 2)
    reader.stdin.write('go\n')
    expect(String((await once(reader.stdout, 'data'))[0])).toBe('read\n')
    await cgroup.freeze()
    const meter = cgroup.meter()
    const before = meter.details()
    expect(before.fileBytes).toBeGreaterThan(30 * 1024 ** 2)
    await cgroup.reclaim(AbortSignal.abort())
    expect(meter.details().fileBytes).toBe(before.fileBytes)
    await cgroup.reclaim(new AbortController().signal)
    expect(meter.details()).toMatchObject({ limitBytes: before.limitBytes })
    expect(meter.details().fileBytes).toBeLessThan(5 * 1024 ** 2)
    meter.close()
    await cgroup.thaw()
    reader.stdin.write('goes on\n')
    expect(String((await once(reader.stdout, 'data'))[0])).toBe('goes on\n')
  } finally {
    await cgroups.remove(group)
    await ended
    await rm(directory, { recursive: true })
  }
})
