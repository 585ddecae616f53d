import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { crashOf } from './kernel-words.js'

const tells = readFileSync('/proc/sys/debug/exception-trace', 'utf8').trim() === '1'

test.runIf(tells)('the kernel’s own words on a crash, and none on a signal that somebody sent', async () => {
  const crash = 'import ctypes; ctypes.string_at(0)'
  const crashed = spawn('python3', ['-c', crash], { stdio: 'ignore' })
  await once(crashed, 'close')
  expect(crashOf(crashed.pid!)).toMatch(/^segfault at 0 ip [0-9a-f]+ sp [0-9a-f]+ error 4 in /)
  const ended = spawn('sleep', ['600'])
  await once(ended, 'spawn')
  ended.kill('SIGSEGV')
  await once(ended, 'close')
  expect(crashOf(ended.pid!)).toBeUndefined()
})

test.runIf(tells)('a name that looks like a line of another process is a name', async () => {
  const name = 'open("/proc/self/comm", "w").write("[4000000]: segf")'
  const crashed = spawn('python3', ['-c', `${name}\nimport ctypes; ctypes.string_at(0)`], { stdio: 'ignore' })
  await once(crashed, 'close')
  expect(crashOf(4_000_000)).toBeUndefined()
  expect(crashOf(crashed.pid!)).toMatch(/^segfault at 0 /)
})
