// What the dashboard's pages do in the browser. Loaded in the head, before anything is painted: first the theme, then
// the rest once the page is there. Everything works without it, except what only it can do (copying, live figures).
(() => {
  "use strict";

  const root = document.documentElement;
  const cookie = (name) => document.cookie.split("; ").find((one) => one.startsWith(name + "="))?.slice(name.length + 1);

  // --- Light and dark: the system's wish, unless somebody chose. ---
  const chosen = cookie("postroad_theme");
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
  const isDark = () => getComputedStyle(root).colorScheme === "dark" ||
    (root.dataset.theme === undefined && matchMedia("(prefers-color-scheme: dark)").matches);
  const switchTheme = () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    document.cookie = `postroad_theme=${root.dataset.theme}; path=/ui; max-age=31536000; samesite=lax`;
    drawCharts(document);
  };

  // --- Times: local, near ones told as people tell them, the exact instant on hover. ---
  const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
  const hours = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const days = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  const years = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
  const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "long" });
  const near = (at, now) => {
    const seconds = Math.round((at - now) / 1000);
    const size = Math.abs(seconds);
    if (size < 45) return relative.format(seconds, "second");
    if (size < 3570) return relative.format(Math.round(seconds / 60), "minute");
    if (size < 84600) return relative.format(Math.round(seconds / 3600), "hour");
    if (size < 30 * 86400) return relative.format(Math.round(seconds / 86400), "day");
    return years.format(at);
  };
  const tellTimes = (scope) => {
    const now = Date.now();
    for (const element of scope.querySelectorAll("time[datetime]")) {
      const at = new Date(element.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      const today = new Date(now).toDateString() === at.toDateString();
      const sameYear = new Date(now).getFullYear() === at.getFullYear();
      element.title = `${exact.format(at)} — ${element.dateTime}`;
      element.textContent = element.dataset.style === "clock"
        ? (today ? hours : sameYear ? days : years).format(at)
        : near(at.getTime(), now);
    }
  };

  // --- Copying. ---
  const copy = async (button) => {
    const source = button.closest(".copy")?.querySelector("[data-copy]") ?? button;
    const text = source.dataset.copy || source.textContent;
    const say = (word) => {
      const before = button.dataset.label ?? button.textContent;
      button.dataset.label = before;
      button.textContent = word;
      announce(word);
      setTimeout(() => { button.textContent = before; }, 1600);
    };
    try {
      await navigator.clipboard.writeText(text);
      say("Copied");
    } catch {
      const range = document.createRange();
      range.selectNodeContents(source);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      say("Selected");
    }
  };
  const announce = (text) => {
    const place = document.getElementById("announce");
    if (place) place.textContent = text;
  };

  // --- Charts: uPlot, fed from a data attribute; each has its figures as a table beside it. ---
  const palette = () => {
    const dark = isDark();
    return {
      text: dark ? "#a0a8b1" : "#5b6169",
      grid: dark ? "#262b31" : "#ecece6",
      accepted: dark ? "#7f9dd6" : "#6c86b8",
      delivered: dark ? "#4cc182" : "#1f8f55",
      deferred: dark ? "#e0ac45" : "#c58a1c",
      bounced: dark ? "#ff7d72" : "#c8443b",
      complained: dark ? "#cf8be8" : "#8a3fa8",
      opened: dark ? "#5cb3ea" : "#2a7fb8",
      clicked: dark ? "#3fc0ca" : "#0d7c86",
      others: dark
        ? ["#84b4ff", "#4cc182", "#e0ac45", "#ff7d72", "#cf8be8", "#3fc0ca", "#c9d36b", "#f0a3c2", "#9fb0c3", "#d9a17a"]
        : ["#1d5bbf", "#1f8f55", "#c58a1c", "#c8443b", "#8a3fa8", "#0d7c86", "#75810f", "#b8457a", "#5b6b7c", "#9a5b2c"],
    };
  };
  const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
  const whole = new Intl.NumberFormat();
  const tickHour = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
  const tickDay = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
  const tellTick = (tick, step) => {
    const at = new Date(tick * 1000);
    return step >= 86400 || (at.getHours() === 0 && at.getMinutes() === 0) ? tickDay.format(at) : tickHour.format(at);
  };
  const plots = new Map();
  const drawChart = (element) => {
    if (typeof uPlot === "undefined") return;
    const { times, series } = JSON.parse(element.dataset.chart);
    plots.get(element)?.plot.destroy();
    const colours = palette();
    const percent = element.dataset.unit === "percent";
    const value = (number) => number === null || number === undefined ? "–"
      : percent ? `${(number * 100).toFixed(1)} %` : whole.format(number);
    const axis = { stroke: colours.text, grid: { stroke: colours.grid, width: 1 }, ticks: { show: false }, font: "12px sans-serif" };
    const options = {
      width: element.clientWidth - 12,
      height: Math.max(120, element.clientHeight - 40),
      // Half of the last moment's name is to the right of it.
      padding: [null, 28, null, null],
      cursor: { points: { size: 6 }, y: false },
      legend: { live: true },
      scales: { x: { time: true }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.08 : 1] } },
      axes: [{ ...axis, grid: { show: false }, space: 70, size: 34, values: (_, ticks, place, space, step) => ticks.map((tick) => tellTick(tick, step)) }, { ...axis, size: 52, values: (_, ticks) => ticks.map((tick) => percent ? `${Math.round(tick * 100)} %` : Number.isInteger(tick) ? compact.format(tick) : "") }],
      series: [{ value: (_, at) => at === null ? "–" : days.format(new Date(at * 1000)) }, ...series.map((one, index) => ({
        label: one.label,
        stroke: colours[one.key] ?? colours.others[index % colours.others.length],
        fill: index === 0 && series.length > 1 && one.key ? (colours[one.key] + "22") : undefined,
        width: 2,
        points: { show: times.length < 3 },
        value: (_, number) => value(number),
      }))],
    };
    const plot = new uPlot(options, [times, ...series.map((one) => one.values)], element);
    plots.set(element, { plot, width: element.clientWidth });
  };
  const drawCharts = (scope) => scope.querySelectorAll("[data-chart]").forEach(drawChart);

  // --- Live: server-sent events add to the figures, and tell htmx parts that something happened. ---
  const follow = (element) => {
    const source = new EventSource(element.dataset.live);
    const state = document.querySelector(".live");
    const tell = (on) => {
      if (!state) return;
      state.dataset.state = on ? "on" : "off";
      state.textContent = on ? "Live" : "Reconnecting";
    };
    source.onopen = () => tell(true);
    source.onerror = () => tell(false);
    let waiting = null;
    source.addEventListener("count", (event) => {
      const change = JSON.parse(event.data);
      for (const [name, more] of Object.entries(change)) bump(name, more);
      waiting ??= setTimeout(() => { waiting = null; document.body.dispatchEvent(new Event("happened")); }, 1000);
    });
    addEventListener("pagehide", () => source.close());
  };
  const bump = (name, more) => {
    for (const element of document.querySelectorAll(`[data-count="${CSS.escape(name)}"]`)) {
      const now = Number(element.dataset.value) + more;
      element.dataset.value = String(now);
      element.textContent = whole.format(now);
    }
    for (const element of document.querySelectorAll("[data-chart][data-growing]")) {
      const chart = JSON.parse(element.dataset.chart);
      const series = chart.series.find((one) => one.key === name);
      if (!series || series.values.length === 0) continue;
      series.values[series.values.length - 1] += more;
      element.dataset.chart = JSON.stringify(chart);
      plots.get(element)?.plot.setData([chart.times, ...chart.series.map((one) => one.values)]);
    }
  };

  // --- Asking before what cannot be undone. ---
  const ask = (form, submitter) => {
    const dialog = document.getElementById("confirm");
    dialog.querySelector("h2").textContent = form.dataset.confirm;
    dialog.querySelector("p").textContent = form.dataset.consequence ?? "";
    const act = dialog.querySelector("[value=yes]");
    act.textContent = submitter?.textContent.trim() || "Go on";
    dialog.returnValue = "";
    dialog.onclose = () => {
      if (dialog.returnValue !== "yes") return;
      delete form.dataset.confirm;
      form.requestSubmit(submitter);
    };
    dialog.showModal();
  };

  // --- Passkeys: the server asks, the authenticator answers, and the form takes the answer along. ---
  const octets = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (one) => one.charCodeAt(0));
  const encoded = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const asksFor = (options) => {
    const known = (list) => list?.map((one) => ({ ...one, id: octets(one.id) }));
    return {
      ...options,
      challenge: octets(options.challenge),
      ...(options.user && { user: { ...options.user, id: octets(options.user.id) } }),
      ...(options.excludeCredentials && { excludeCredentials: known(options.excludeCredentials) }),
      ...(options.allowCredentials && { allowCredentials: known(options.allowCredentials) }),
    };
  };
  const answerOf = ({ id, rawId, type, response }) => {
    const told = { clientDataJSON: encoded(response.clientDataJSON) };
    if (response.attestationObject) {
      told.attestationObject = encoded(response.attestationObject);
      told.transports = response.getTransports?.() ?? [];
    } else {
      told.authenticatorData = encoded(response.authenticatorData);
      told.signature = encoded(response.signature);
      told.userHandle = response.userHandle ? encoded(response.userHandle) : null;
    }
    return { id, rawId: encoded(rawId), type, response: told, extensions: {} };
  };
  const whyNot = (error) => ({
    NotAllowedError: "Nothing was chosen, or it took too long. Try again.",
    InvalidStateError: "This device has a passkey here already.",
    SecurityError: "This address is not the one that passkeys are made for.",
  })[error.name] ?? error.message;
  const askAuthenticator = async (form, button) => {
    const problem = form.querySelector("[data-problem]");
    problem.hidden = true;
    button.disabled = true;
    try {
      if (!window.PublicKeyCredential) throw new Error("This browser has no passkeys, or this page was not reached over TLS.");
      const asked = await fetch(form.dataset.options, { method: "POST", headers: { "X-CSRF-Token": form.elements.csrf.value } });
      if (asked.redirected) return void location.assign(asked.url);
      const options = await asked.json();
      if (!asked.ok) throw new Error(options.detail);
      const credential = await navigator.credentials[form.dataset.passkey]({ publicKey: asksFor(options.publicKey) });
      form.elements.credential.value = JSON.stringify(answerOf(credential));
      form.submit();
    } catch (error) {
      problem.textContent = whyNot(error);
      problem.hidden = false;
    } finally {
      button.disabled = false;
    }
  };

  // --- A file goes as it is, of any length; what became of it comes back as a part of the page. ---
  const upload = async (form, button) => {
    const result = document.getElementById(form.dataset.uploads);
    const say = (text) => {
      result.textContent = text;
    };
    const query = new URLSearchParams();
    for (const field of form.querySelectorAll("[name]:not([type=hidden])")) if (field.value) query.set(field.name, field.value);
    button.disabled = true;
    say("Importing…");
    try {
      const answer = await fetch(`${form.getAttribute("action")}?${query}`, {
        method: "POST",
        headers: { "Content-Type": "text/csv", "X-CSRF-Token": form.elements.csrf.value },
        body: form.querySelector("[type=file]").files[0],
      });
      if (answer.redirected) return void location.assign(answer.url);
      // Written by the server, which escapes whatever the file held.
      if (answer.ok || answer.status === 422) result.innerHTML = await answer.text();
      else say("Not imported. Reload the page and try again.");
    } catch {
      say("The connection broke. What came before is stored; importing again is safe.");
    } finally {
      button.disabled = false;
    }
  };

  // --- Tabs over samples (WAI-ARIA: arrows move, the panel follows). ---
  const select = (tab) => {
    for (const other of tab.closest("[role=tablist]").querySelectorAll("[role=tab]")) {
      const selected = other === tab;
      other.setAttribute("aria-selected", String(selected));
      other.tabIndex = selected ? 0 : -1;
      document.getElementById(other.getAttribute("aria-controls")).hidden = !selected;
    }
  };
  const setUpTabs = (scope) => {
    for (const list of scope.querySelectorAll("[role=tablist]")) {
      const first = list.querySelector("[aria-selected=true]") ?? list.querySelector("[role=tab]");
      if (first) select(first);
    }
  };

  // --- The editor of templates: what it holds is shown as it is typed, in a frame that can do nothing. A new frame each
  // time, so that the browser's history keeps to pages. ---
  const showPreview = (form) => {
    const old = document.getElementById(form.dataset.previews);
    const fresh = old.cloneNode(false);
    old.replaceWith(fresh);
    form.requestSubmit(document.getElementById("show-preview"));
  };
  const setUpPreview = (form) => {
    let waiting = null;
    form.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => showPreview(form), 500);
    });
    showPreview(form);
  };

  const prepare = (scope) => {
    tellTimes(scope);
    drawCharts(scope);
    setUpTabs(scope);
  };

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelector(".side")?.classList.add("folded");
    prepare(document);
    const live = document.querySelector("[data-live]");
    if (live) follow(live);
    document.querySelector("[data-first-error]")?.focus();
    const editor = document.querySelector("form[data-previews]");
    if (editor) setUpPreview(editor);
    setInterval(() => tellTimes(document), 20000);
    document.body.addEventListener("htmx:afterSwap", (event) => prepare(event.detail.target));
    addEventListener("resize", () => {
      for (const [element, { plot, width }] of plots) {
        if (element.isConnected && element.clientWidth !== width) {
          plot.setSize({ width: element.clientWidth - 12, height: plot.height });
          plots.set(element, { plot, width: element.clientWidth });
        }
      }
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawCharts(document));
  });

  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    const button = target?.closest("[data-does]");
    if (!button) return;
    const does = button.dataset.does;
    if (does === "theme") switchTheme();
    if (does === "copy") copy(button);
    if (does === "tab") select(button);
    if (does === "menu") {
      const folded = document.querySelector(".side").classList.toggle("folded");
      button.setAttribute("aria-expanded", String(!folded));
    }
    if (does === "width") {
      document.getElementById(button.dataset.frame).classList.toggle("phone", button.dataset.width === "phone");
      for (const other of button.parentElement.children) other.setAttribute("aria-pressed", String(other === button));
    }
  });

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submits]")) event.target.form.requestSubmit();
    if (event.target.dataset.doesAll) {
      const all = event.target.form.querySelectorAll(`[type=checkbox][name="${event.target.dataset.doesAll}"]`);
      for (const box of all) box.checked = event.target.checked;
    }
  });

  document.addEventListener("submit", (event) => {
    for (const field of event.target.querySelectorAll("[data-mirrors]")) {
      field.value = document.getElementById(field.dataset.mirrors)?.value ?? field.value;
    }
    if (event.target.dataset.uploads) {
      event.preventDefault();
      upload(event.target, event.submitter ?? event.target.querySelector("button"));
    }
    if (event.target.dataset.passkey) {
      event.preventDefault();
      askAuthenticator(event.target, event.submitter ?? event.target.querySelector("button"));
    }
    if (event.target.dataset.confirm) {
      event.preventDefault();
      event.stopImmediatePropagation();
      ask(event.target, event.submitter);
    }
  }, true);

  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, textarea, select, [contenteditable]");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const search = document.getElementById("search");
      if (search) {
        event.preventDefault();
        search.focus();
        search.select();
      }
    }
    if (event.key === "Escape" && event.target.id === "search") event.target.blur();
    if (event.target.matches("[role=tab]") && ["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) {
      const tabs = [...event.target.closest("[role=tablist]").querySelectorAll("[role=tab]")];
      const at = tabs.indexOf(event.target);
      const next = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: -1 }[event.key];
      const tab = tabs.at(next % tabs.length);
      event.preventDefault();
      select(tab);
      tab.focus();
    }
  });
})();
