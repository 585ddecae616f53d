import type { EventBody } from '@vm0/contract'
import { boundedText } from './bounded.js'
import { list, optionalText, record, short, text, type Message, type Nested } from './fields.js'
import type { ToolCall } from './tools.js'

const maxItems = 1000
const maxText = 2000

interface Item {
  text: string
  status: string
}

/** The agent's list of what is to be done: TodoWrite gives it whole, the Task tools change one task each. */
export class TaskList {
  private readonly tasks = new Map<string, Item>()

  /** The list after a call that succeeded; undefined when the call doesn't change it. */
  after(call: ToolCall, result: unknown, nested: Nested): EventBody | undefined {
    const told = record(result)
    switch (call.name) {
      case 'TodoWrite': {
        const todos = Array.isArray(told.newTodos) ? told.newTodos : call.input.todos
        return plan(
          list(todos)
            .map(record)
            .map((todo) => item(todo.content, todo.status)),
          nested,
        )
      }
      case 'TaskCreate': {
        const task = record(told.task)
        this.set(short(task.id), item(task.subject ?? call.input.subject, 'pending'))
        break
      }
      case 'TaskUpdate':
        if (told.success !== true) return undefined
        this.update(short(told.taskId), call.input, short(record(told.statusChange).to))
        break
      case 'TaskList':
        // What earlier processes of the session left is known from here only.
        for (const task of list(told.tasks).map(record)) this.set(short(task.id), item(task.subject, task.status))
        break
      default:
        return undefined
    }
    return plan([...this.tasks.values()], nested)
  }

  private update(id: string, input: Message, status: string): void {
    if (status === 'deleted') {
      this.tasks.delete(id)
      return
    }
    const known = this.tasks.get(id)
    this.set(id, item(optionalText(input.subject) ?? known?.text ?? `Task ${id}`, status || known?.status || 'pending'))
  }

  private set(id: string, task: Item): void {
    if (id && (this.tasks.has(id) || this.tasks.size < maxItems)) this.tasks.set(id, task)
  }
}

function item(content: unknown, status: unknown): Item {
  return { text: boundedText(text(content), maxText), status: short(status) || 'pending' }
}

function plan(items: Item[], nested: Nested): EventBody {
  return { type: 'plan', items: items.slice(0, maxItems), ...nested }
}
