import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Vm0Error } from '@vm0/contract'
import { planDockerfile } from './index.js'
import { expand, splitWords } from './words.js'

const plan = (text: string, args?: Record<string, string>) => planDockerfile(text, args)
const commands = (text: string): [number | undefined, string[]][] =>
  plan(text).steps.map(({ line, command }) => [line, command])

test('steps come in order, with the line at which each begins, comments and continued lines as Docker has them', () => {
  const text = [
    '# syntax=docker/dockerfile:1',
    'FROM standard AS base',
    '',
    'RUN apt-get update && \\',
    '    # in the middle',
    '',
    '    apt-get install -y x',
    'run ["echo", "a b"]',
    'WORKDIR /srv',
    'WORKDIR app',
    'RUN pwd',
  ].join('\n')
  expect(commands(text)).toEqual([
    [4, ['/bin/sh', '-c', 'apt-get update &&     apt-get install -y x']],
    [8, ['echo', 'a b']],
    [9, ['mkdir', '-p', '--', '/srv']],
    [10, ['mkdir', '-p', '--', '/srv/app']],
    [11, ['/bin/sh', '-c', 'pwd']],
  ])
  expect(plan(text).from).toBe('standard')
  expect(plan(text).steps.at(-1)?.cwd).toBe('/srv/app')
})

test('variables are those of ENV and, for the build alone, of ARG; RUN leaves them to its shell', () => {
  const { from, steps, env } = plan(
    [
      'ARG BASE=web@2',
      'ARG UNSET',
      'FROM ${BASE}',
      'ARG BASE',
      'ARG VERSION=1',
      'ENV A=1 B="two words" C=$A-${VERSION:-none}-${NOT:-none}-${A:+set}',
      'ENV OLD form of it',
      'RUN echo $A',
      'WORKDIR /$B',
    ].join('\n'),
    { VERSION: '3' },
  )
  expect(from).toBe('web@2')
  expect(env).toEqual({ A: '1', B: 'two words', C: '-3-none-', OLD: 'form of it' })
  expect(steps[0]).toMatchObject({
    command: ['/bin/sh', '-c', 'echo $A'],
    env: { ...env, BASE: 'web@2', VERSION: '3' },
  })
  expect(steps[1]?.command.at(-1)).toBe('/two words')
})

test('COPY names its sources below the folder and its target in the sandbox', () => {
  const of = (line: string) => plan(`FROM standard\nWORKDIR /app\n${line}`).steps[1]?.command.slice(4)
  expect(of('COPY . .')).toEqual(['/tmp/vm0-context', '/app/', '', '', './.'])
  expect(of('COPY --chown=1000:staff --chmod=755 a "b c" /x/')).toEqual([
    '/tmp/vm0-context',
    '/x/',
    '1000:staff',
    '755',
    './a',
    './b c',
  ])
  expect(of('ADD ["/src/*.js", "lib"]')).toEqual(['/tmp/vm0-context', '/app/lib', '', '', './src/*.js'])
  expect(plan('FROM standard\nCOPY a b').usesContext).toBe(true)
  expect(plan('FROM standard\nRUN true').usesContext).toBe(false)
})

test('what only says how a container starts is passed over, and told', () => {
  const { steps, passedOver } = plan('FROM standard\nEXPOSE 80\nCMD ["x"]\nEXPOSE 81\nLABEL a=b\nUSER root')
  expect(steps).toEqual([])
  expect(passedOver).toEqual(['EXPOSE', 'CMD', 'LABEL'])
})

test.each([
  ['', /no FROM/],
  ['RUN true', /line 1: RUN comes before FROM/],
  ['FROM scratch', /line 1: FROM scratch is not served/],
  ['FROM debian:bookworm', /names no template/],
  ['FROM --platform=linux/amd64 standard', /--platform is not served/],
  ['FROM standard\nFROM standard', /line 2: a second FROM/],
  ['FROM standard\nCOPY --from=build a b', /one stage only/],
  ['FROM standard\nCOPY a', /no source and target/],
  ['FROM standard\nCOPY ../a b', /leads out of the folder/],
  ['FROM standard\nCOPY a/../../b c', /leads out of the folder/],
  ['FROM standard\nADD https://example.com/x /x', /an address is not served/],
  ['FROM standard\nADD x.tar.gz /x', /archive/],
  ['FROM standard\nCOPY --chown=a;b x y', /USER or USER:GROUP/],
  ['FROM standard\nRUN --mount=type=cache,target=/x true', /--mount is not served/],
  ['FROM standard\nRUN <<EOF\necho\nEOF', /here-documents/],
  ['FROM standard\nUSER node', /USER node is not served/],
  ['FROM standard\nONBUILD RUN true', /ONBUILD is not served/],
  ['FROM standard\nENV =x', /expected NAME=VALUE/],
  ['FROM standard\nENV A="x', /is not closed/],
  ['FROM standard\nWORKDIR ${A%x}', /is not served/],
  ['FROM standard\n\n\n!', /line 4: "!" is no instruction/],
  ['# escape=`\nFROM standard', /escape/],
])('%j is refused with its line', (text, message) => {
  expect(() => plan(text)).toThrow(
    expect.objectContaining({ code: 'DOCKERFILE_INVALID', message: expect.stringMatching(message) as string }),
  )
})

test('whatever the text, it is read or refused with a code', () => {
  const word = fc.constantFrom(
    'FROM standard',
    'RUN',
    'COPY',
    'ENV',
    'ARG',
    '\\',
    '\n',
    ' ',
    'a=b',
    '$',
    '${',
    '}',
    '"',
    "'",
    '[',
    '"a"',
    ']',
    '#',
    '--x',
    '..',
    '/',
  )
  const text = fc.oneof(
    fc.string(),
    fc.array(word, { maxLength: 20 }).map((words) => words.join('')),
  )
  fc.assert(
    fc.property(text, (given) => {
      try {
        for (const { command } of plan(`FROM standard\n${given}`).steps) expect(command.length).toBeGreaterThan(0)
      } catch (error) {
        expect(error).toBeInstanceOf(Vm0Error)
        expect((error as Vm0Error).code).toBe('DOCKERFILE_INVALID')
      }
    }),
  )
})

test('a word in quotes is that word, and a text without a dollar stays', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ minLength: 1 }).filter((text) => !/['\\]/.test(text))), (words) => {
      expect(splitWords(words.map((word) => `'${word}'`).join(' '), 1)).toEqual(words)
    }),
  )
  fc.assert(fc.property(fc.string(), (text) => text.includes('$') || expand(text, {}, 1) === text))
})
