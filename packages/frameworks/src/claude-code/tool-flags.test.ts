import { expect, test } from 'vitest'
import { toolFlags } from './tool-flags.js'

/** The flags without those that every run has. */
const flags = (...given: Parameters<typeof toolFlags>): string =>
  toolFlags(...given)
    .join(' ')
    .replace(/ ?--disallowedTools .*$/, '')
const denied = (...given: Parameters<typeof toolFlags>): string[] => (toolFlags(...given).at(-1) as string).split(',')

test('without a list every tool is there, but for those that make no sense in a run', () => {
  expect(flags({})).toBe('--permission-mode bypassPermissions')
  expect(denied({})).toEqual(expect.arrayContaining(['AskUserQuestion', 'ScheduleWakeup', 'Monitor']))
  expect(denied({ tools: { deny: ['Bash', 'WebFetch'] } })).toEqual(
    expect.arrayContaining(['Bash', 'WebFetch', 'Monitor']),
  )
})

test('whole built-in tools are the set itself, and MCP servers go', () => {
  expect(flags({ tools: { allow: ['Read', 'Bash'] } })).toBe(
    '--tools Read,Bash --strict-mcp-config --permission-mode bypassPermissions',
  )
  expect(flags({ tools: { allow: [] } })).toBe('--tools  --strict-mcp-config --permission-mode bypassPermissions')
})

test('patterns and MCP tools are rules that each call is held to', () => {
  expect(flags({ tools: { allow: ['Read', 'Bash(git *)', 'Bash(ls)'] } })).toBe(
    '--tools Read,Bash --strict-mcp-config --permission-mode dontAsk --allowedTools Read,Bash(git *),Bash(ls)',
  )
  expect(flags({ tools: { allow: ['mcp__files__read'] } })).toBe(
    '--tools  --permission-mode dontAsk --allowedTools mcp__files__read',
  )
})

test('where a person is asked nothing is allowed beforehand', () => {
  expect(flags({ permissions: 'ask' })).toBe('--permission-mode manual')
  expect(flags({ permissions: 'ask', tools: { allow: ['Read', 'Bash(git *)'] } })).toBe(
    '--tools Read,Bash --strict-mcp-config --permission-mode manual',
  )
})

test('servers that a run brings stay beside a list of built-in tools', () => {
  const mcpServers = { files: { command: 'serve' } }
  expect(flags({ mcpServers, tools: { allow: ['Read'] } })).toBe('--tools Read --permission-mode bypassPermissions')
})
