// Passkeys: carries what we ask to the browser's authenticator, and its answer back (WebAuthn).
(() => {
  "use strict";

  const fromText = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
  const toText = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

  const post = async (path, csrf, body) => {
    const headers = { "X-CSRF-Token": csrf };
    if (body) headers["Content-Type"] = "application/json";
    const response = await fetch(path, { method: "POST", headers, body: body && JSON.stringify(body) });
    const answer = response.status === 204 ? {} : await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(answer.detail || "That did not work; try again.");
    return answer;
  };

  const withBuffers = (list) => (list || []).map((one) => ({ ...one, id: fromText(one.id) }));

  const create = async (form) => {
    const csrf = form.elements.csrf.value;
    const { publicKey } = await post("/ui/account/passkeys/start", csrf);
    publicKey.challenge = fromText(publicKey.challenge);
    publicKey.user.id = fromText(publicKey.user.id);
    publicKey.excludeCredentials = withBuffers(publicKey.excludeCredentials);
    const made = await navigator.credentials.create({ publicKey });
    const credential = {
      id: made.id, rawId: toText(made.rawId), type: made.type, extensions: made.getClientExtensionResults(),
      response: {
        attestationObject: toText(made.response.attestationObject),
        clientDataJSON: toText(made.response.clientDataJSON),
        transports: made.response.getTransports ? made.response.getTransports() : undefined,
      },
    };
    await post("/ui/account/passkeys", csrf, { name: form.elements.name.value, credential });
    location.assign("/ui/account?done=saved");
  };

  const prove = async (form) => {
    const csrf = form.elements.csrf.value;
    const { publicKey } = await post("/ui/second-factor/passkey/start", csrf);
    publicKey.challenge = fromText(publicKey.challenge);
    publicKey.allowCredentials = withBuffers(publicKey.allowCredentials);
    const given = await navigator.credentials.get({ publicKey });
    const credential = {
      id: given.id, rawId: toText(given.rawId), type: given.type, extensions: given.getClientExtensionResults(),
      response: {
        authenticatorData: toText(given.response.authenticatorData),
        clientDataJSON: toText(given.response.clientDataJSON),
        signature: toText(given.response.signature),
        userHandle: given.response.userHandle ? toText(given.response.userHandle) : null,
      },
    };
    const { next } = await post("/ui/second-factor/passkey", csrf, { next: form.elements.next.value, credential });
    location.assign(next);
  };

  document.addEventListener("submit", async (event) => {
    const act = { create, prove }[event.target.dataset.passkey];
    if (!act) return;
    event.preventDefault();
    const error = event.target.querySelector(".error");
    const button = event.target.querySelector("button");
    error.hidden = true;
    button.disabled = true;
    try {
      if (!window.PublicKeyCredential) throw new Error("This browser has no passkeys.");
      await act(event.target);
    } catch (problem) {
      error.textContent = problem.name === "NotAllowedError" ? "Canceled, or it took too long." : problem.message;
      error.hidden = false;
    } finally {
      button.disabled = false;
    }
  });
})();
