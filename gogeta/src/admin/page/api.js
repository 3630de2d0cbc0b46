// What the page asks its gogeta, and with which token.

const TOKEN = 'gogeta-admin-token';

/** Why gogeta did not do it: `status` of the response (0 where there was none) and a sentence. */
export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** The token for actions; it is forgotten with the tab. */
export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set(value) {
    if (value) sessionStorage.setItem(TOKEN, value);
    else sessionStorage.removeItem(TOKEN);
    document.dispatchEvent(new CustomEvent('token'));
  },
};

/** A path of names that may have any letter in them. */
export const path = (...names) => `/api/${names.map(encodeURIComponent).join('/')}`;

/** The path with those parameters that have a value. */
export function withQuery(where, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== '' && value !== null && value !== undefined) query.set(name, value);
  }
  const text = query.toString();
  return text ? `${where}?${text}` : where;
}

/** Reads JSON. */
export async function get(where, signal) {
  return (await ask(where, { signal })).json();
}

/** Does something that takes the token; gives the response. */
export function act(method, where, body) {
  const headers = { Authorization: `Bearer ${token.get() ?? ''}`, 'Content-Type': 'application/json' };
  return ask(where, { method, headers, body: JSON.stringify(body ?? {}) });
}

async function ask(where, options) {
  let response;
  try {
    response = await fetch(where, { cache: 'no-store', credentials: 'omit', redirect: 'error', ...options });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Refusal(0, 'gogeta cannot be reached');
  }
  if (response.ok) return response;
  throw new Refusal(response.status, await detail(response));
}

async function detail(response) {
  const fallback = `${response.status} ${response.statusText}`;
  try {
    const problem = JSON.parse(await response.text());
    return problem.detail || problem.title || fallback;
  } catch {
    return fallback;
  }
}
