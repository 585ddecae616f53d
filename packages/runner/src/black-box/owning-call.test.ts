import { expect, test } from 'vitest'
import { owningCall, type OpenCall } from './owning-call.js'

const build: OpenCall = { toolId: 'build', command: 'npm run "build"', startedAtMs: 1_000 }
const check: OpenCall = { toolId: 'check', command: 'npm test', startedAtMs: 1_100 }
const read: OpenCall = { toolId: 'read', command: undefined, startedAtMs: 1_000 }
const shell = (command: string): string => `/bin/bash -c shopt -u extglob; eval '${command}' < /dev/null`
const owner = (commands: string[], startedAtMs: number, ...calls: OpenCall[]): string | undefined =>
  owningCall({ commands, startedAtMs }, calls)?.toolId

test('of several calls it is the one whose command the shell was given, however that is quoted', () => {
  expect(owner(['node build.js', shell(`npm run '"'"'build'"'"'`)], 1_200, build, check)).toBe('build')
  expect(owner(['node test.js', shell('npm test')], 1_200, build, check)).toBe('check')
})

test('without such a shell it is the only call that runs commands, or nobody’s', () => {
  expect(owner(['node x.js'], 1_200, build)).toBe('build')
  expect(owner(['node x.js'], 1_200, build, read)).toBe('build')
  expect(owner(['node x.js'], 1_200, build, check)).toBeUndefined()
  expect(owner(['node x.js'], 1_200, read)).toBe('read')
})

test('a process of before the call, or after its end, is not its own', () => {
  expect(owner([shell('npm test')], 500, check)).toBeUndefined()
  expect(owner([shell('npm test')], 9_000, { ...check, endedAtMs: 2_000 })).toBeUndefined()
})
