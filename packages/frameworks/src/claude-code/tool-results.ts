import { list, record, text, type Message } from './fields.js'

/** The calls whose results come after the model's last words in a Messages API request; reminders of the agent's own may follow on them. */
export function toolResults(body: string): string[] {
  let request: Message
  try {
    request = record(JSON.parse(body))
  } catch {
    return []
  }
  const messages = list(request.messages).map(record)
  const last = messages.findLastIndex(({ role }) => role === 'assistant')
  return messages.slice(last + 1).flatMap(resultsIn)
}

/** The calls whose results are among the entries that were appended to the transcript. */
export function recordedResults(mirror: Message): string[] {
  return list(mirror.entries).flatMap((entry) => resultsIn(record(record(entry).message)))
}

function resultsIn(message: Message): string[] {
  return list(message.content)
    .map(record)
    .filter(({ type }) => type === 'tool_result')
    .map(({ tool_use_id: id }) => text(id))
}
