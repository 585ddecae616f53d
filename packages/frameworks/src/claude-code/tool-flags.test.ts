import { expect, test } from 'vitest'
import { toolFlags } from './tool-flags.js'

/** The flags without those that every run has. */
const flags = (...given: Parameters<typeof toolFlags>): string =>
  toolFlags(...given)
    .join(' ')
    .replace(/ ?--disallowedTools .*$/, '')
const denied = (...given: Parameters<typeof toolFlags>): string[] => (toolFlags(...given).at(-1) as string).split(',')

test('without a list every tool is there, but for those that make no sense in a run', () => {
  expect(flags()).toBe('--permission-mode bypassPermissions')
  expect(denied()).toEqual(expect.arrayContaining(['AskUserQuestion', 'ScheduleWakeup', 'Monitor']))
  expect(denied({ deny: ['Bash', 'WebFetch'] })).toEqual(expect.arrayContaining(['Bash', 'WebFetch', 'Monitor']))
})

test('whole built-in tools are the set itself, and MCP servers go', () => {
  expect(flags({ allow: ['Read', 'Bash'] })).toBe(
    '--tools Read,Bash --strict-mcp-config --permission-mode bypassPermissions',
  )
  expect(flags({ allow: [] })).toBe('--tools  --strict-mcp-config --permission-mode bypassPermissions')
})

test('patterns and MCP tools are rules that each call is held to', () => {
  expect(flags({ allow: ['Read', 'Bash(git *)', 'Bash(ls)'] })).toBe(
    '--tools Read,Bash --strict-mcp-config --permission-mode dontAsk --allowedTools Read,Bash(git *),Bash(ls)',
  )
  expect(flags({ allow: ['mcp__files__read'] })).toBe(
    '--tools  --permission-mode dontAsk --allowedTools mcp__files__read',
  )
})
