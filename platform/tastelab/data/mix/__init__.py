"""Public feeds → impressions: replies resolved to items, accounts to people, engagements to windows."""
